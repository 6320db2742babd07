//! Reading a configuration again and again: what did not change is not read, parsed or judged again.
//!
//! What a tenant file gives depends on its own content and on relay.yaml's, and on nothing else: its problems, its [`Facts`] for the
//! comparison with other tenants, and its part of the model. That is kept for as long as both are the same. A file with errors is never
//! kept, so that it tells them again. Between tenants everything is compared at each load: that costs a few hash look-ups a tenant.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};

use super::problem::{At, Problem, Problems, Severity};
use super::stamp::{Stamp, WallClock};
use super::validate::{Facts, RelayNames, Tenants};
use super::{KeyStore, Loaded, Purpose, RelayConfigModel, RelaySide, Tenant, relay_file, resolve, source, tenant_file, tree, validate};
use crate::clock;

/// Threads that read tenant files: disks and the other work of the machine are not to be flooded.
const MOST_THREADS: usize = 8;
/// A thread is worth starting for so many files.
const FILES_FOR_A_THREAD: usize = 32;
/// Files that a thread takes at a time.
const CHUNK: usize = 8;

/// How much was read at a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effort {
    /// Tenant files that belong to the configuration.
    pub files: usize,
    /// Of these, opened and read: the others are as they were, says the file system.
    pub read: usize,
    /// Of these, parsed and judged: the others had the content that they had before.
    pub parsed: usize,
}

/// Loads one configuration whenever it is asked to.
#[derive(Debug)]
pub struct Loader {
    path: PathBuf,
    purpose: Purpose,
    clock: WallClock,
    keys: KeyStore,
    /// relay.yaml, for which `tenants` were judged.
    relay: String,
    tenants: HashMap<PathBuf, Arc<TenantPart>>,
    /// Where tenant files are looked for.
    tenant_directory: PathBuf,
}

type ContentHash = [u8; 32];

/// What one tenant file gives by itself and with the relay file.
#[derive(Debug)]
struct TenantPart {
    stamp: Option<Stamp>,
    content: ContentHash,
    problems: Vec<Problem>,
    /// `None` where the file could not be read as YAML.
    facts: Option<Arc<Facts>>,
    tenant: Option<Arc<Tenant>>,
}

impl TenantPart {
    fn is_good(&self) -> bool {
        self.tenant.is_some() && self.problems.iter().all(|problem| problem.severity != Severity::Error)
    }
}

/// What tenant files are judged against, and what is known of them from before.
struct Round<'a> {
    side: &'a RelaySide,
    names: RelayNames<'a>,
    model: Option<&'a RelayConfigModel>,
    known: &'a HashMap<PathBuf, Arc<TenantPart>>,
    clock: WallClock,
    read: AtomicUsize,
    parsed: AtomicUsize,
}

impl Loader {
    /// A loader of the relay file at `path`, which has read nothing yet.
    #[must_use]
    pub fn new(path: &Path, purpose: Purpose) -> Self {
        Self::with_clock(path, purpose, clock::now)
    }

    pub(super) fn with_clock(path: &Path, purpose: Purpose, clock: WallClock) -> Self {
        let keys = KeyStore::with_clock(clock);
        Self {
            path: path.to_owned(),
            purpose,
            clock,
            keys,
            relay: String::new(),
            tenants: HashMap::new(),
            tenant_directory: PathBuf::new(),
        }
    }

    /// The relay file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directories of all files that the last load and [`Self::keys`] read, and of what symbolic links among them point at.
    #[must_use]
    pub fn directories(&self) -> BTreeSet<PathBuf> {
        let directory = |file: &Path| file.parent().map(|parent| if parent == "" { Path::new(".") } else { parent }.to_owned());
        let tenants = self.tenants.keys().map(PathBuf::as_path);
        let files: Vec<&Path> = [self.path.as_path()].into_iter().chain(tenants).chain(self.keys.files()).collect();
        let targets = files.iter().filter_map(|file| file.canonicalize().ok()?.parent().map(Path::to_owned));
        let mut directories: BTreeSet<_> = files.iter().filter_map(|file| directory(file)).chain(targets).collect();
        directories.insert(self.tenant_directory.clone());
        directories.retain(|directory| directory.is_dir());
        directories
    }

    /// The keys that the last load read.
    pub fn keys(&mut self) -> &mut KeyStore {
        &mut self.keys
    }

    /// Loads the relay file and the tenant files that it names, as they are now.
    pub fn load(&mut self) -> Loaded {
        let mut problems = Problems::default();
        let mut effort = Effort::default();
        self.keys.begin();
        let relay = self.load_relay(&mut problems).and_then(|side| self.load_all(&side, &mut effort, &mut problems));
        self.keys.end();
        Loaded { relay, problems: problems.into_sorted(), effort }
    }

    fn load_relay(&mut self, problems: &mut Problems) -> Option<RelaySide> {
        let name: Arc<str> = self.path.display().to_string().into();
        let text = source::read(&self.path, &name, problems)?;
        let root = tree::parse(&text, &name, problems)?;
        let file = relay_file::read(&root, problems);
        if self.relay != text {
            self.tenants.clear();
            self.relay = text;
        }
        Some(RelaySide { at: At::whole_file(&name), directory: self.path.parent().unwrap_or(Path::new("")).to_path_buf(), file })
    }

    fn load_all(&mut self, side: &RelaySide, effort: &mut Effort, problems: &mut Problems) -> Option<RelayConfigModel> {
        let names = RelayNames::of(side);
        validate::relay(side, &names, problems);
        let model = resolve::relay(side);
        let paths = super::tenant_paths(side, problems);
        self.tenant_directory = super::tenant_directory(side);
        let round = Round {
            side,
            names,
            model: model.as_ref(),
            known: &self.tenants,
            clock: self.clock,
            read: AtomicUsize::new(0),
            parsed: AtomicUsize::new(0),
        };
        let parts = round.parts(&paths);
        *effort = Effort { files: paths.len(), read: round.read.into_inner(), parsed: round.parsed.into_inner() };
        parts.iter().for_each(|part| problems.extend(&part.problems));
        let facts = parts.iter().filter_map(|part| part.facts.as_deref()).collect();
        let tenants = Tenants { facts, some_unreadable: parts.iter().any(|part| part.facts.is_none()) };
        validate::across(side, &tenants, self.purpose, &mut self.keys, problems);
        self.tenants =
            paths.into_iter().zip(&parts).filter(|(_, part)| part.is_good()).map(|(path, part)| (path, Arc::clone(part))).collect();
        if problems.has_errors() {
            return None;
        }
        let tenants: Option<Vec<Arc<Tenant>>> = parts.iter().map(|part| part.tenant.clone()).collect();
        let (Some(mut model), Some(tenants)) = (model, tenants) else {
            problems.error(&side.at, "is refused without a reason; this is a fault of chukei: please report it");
            return None;
        };
        model.tenants = tenants;
        Some(model)
    }
}

impl Round<'_> {
    /// One part for each path, in their order.
    fn parts(&self, paths: &[PathBuf]) -> Vec<Arc<TenantPart>> {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = processors.min(MOST_THREADS).min(paths.len() / FILES_FOR_A_THREAD);
        if threads < 2 {
            return paths.iter().map(|path| self.part(path)).collect();
        }
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            loop {
                let start = next.fetch_add(CHUNK, Ordering::Relaxed);
                let Some(chunk) = paths.get(start..paths.len().min(start + CHUNK)).filter(|chunk| !chunk.is_empty()) else { return done };
                done.extend((start..).zip(chunk).map(|(index, path)| (index, self.part(path))));
            }
        };
        let mut parts: Vec<(usize, Arc<TenantPart>)> = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut all = work();
            for other in others {
                all.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            all
        });
        parts.sort_unstable_by_key(|(index, _)| *index);
        parts.into_iter().map(|(_, part)| part).collect()
    }

    fn part(&self, path: &Path) -> Arc<TenantPart> {
        let name: Arc<str> = path.display().to_string().into();
        let mut problems = Problems::default();
        match self.changed(path) {
            Ok(Found::Same(part)) => part,
            Ok(Found::Changed { stamp, content, bytes }) => {
                self.parsed.fetch_add(1, Ordering::Relaxed);
                let (facts, tenant) = self.judge(&name, bytes, &mut problems).unzip();
                let problems = problems.into_found();
                Arc::new(TenantPart { stamp: Some(stamp), content, problems, facts: facts.map(Arc::new), tenant: tenant.flatten() })
            }
            Err(error) => {
                error.report(&name, &mut problems);
                let problems = problems.into_found();
                Arc::new(TenantPart { stamp: None, content: [0; 32], problems, facts: None, tenant: None })
            }
        }
    }

    /// What stands in the file now, unless it is what stood there before.
    fn changed(&self, path: &Path) -> Result<Found, source::ReadError> {
        let metadata = source::look(path)?;
        let known = self.known.get(path);
        if let Some(known) = known.filter(|known| known.stamp.is_some_and(|stamp| stamp.still_holds(&metadata))) {
            return Ok(Found::Same(Arc::clone(known)));
        }
        // Stamped before reading: what changes in between shows next time.
        let stamp = Stamp::new(&metadata, self.clock);
        let bytes = source::bytes(path)?;
        self.read.fetch_add(1, Ordering::Relaxed);
        let content: ContentHash = Blake2b::<U32>::digest(&bytes).into();
        if let Some(known) = known.filter(|known| known.content == content) {
            let TenantPart { problems, facts, tenant, .. } = &**known;
            let part = TenantPart { stamp: Some(stamp), content, problems: problems.clone(), facts: facts.clone(), tenant: tenant.clone() };
            return Ok(Found::Same(Arc::new(part)));
        }
        Ok(Found::Changed { stamp, content, bytes })
    }

    /// `None` where the bytes are no YAML; no tenant where it has errors or the relay file has.
    fn judge(&self, name: &Arc<str>, bytes: Vec<u8>, problems: &mut Problems) -> Option<(Facts, Option<Arc<Tenant>>)> {
        let text = source::decode(bytes, name, problems)?;
        let root = tree::parse(&text, name, problems)?;
        let file = tenant_file::read(&root, problems);
        validate::tenant(self.side, &self.names, &file, problems);
        let good = !problems.has_errors();
        let tenant = self.model.filter(|_| good).and_then(|model| resolve::tenant(self.side, model, &file));
        Some((Facts::of(self.side, &file), tenant.map(Arc::new)))
    }
}

enum Found {
    Same(Arc<TenantPart>),
    Changed { stamp: Stamp, content: ContentHash, bytes: Vec<u8> },
}

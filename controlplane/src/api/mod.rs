//! The API over a unix socket: who asks is known by the socket's peer, and nobody learns of a tenant that is not theirs.

mod change;
mod ipsec;
pub mod rows;
mod show;
pub mod viewer;

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use axum::{Json, extract::ConnectInfo};
use serde::Deserialize;
use tokio::net::{UnixListener, UnixStream};

use crate::relay::Relay;
use crate::workers::NoAnswer;
pub use change::IsolateRequest;
use rows::Failure;
use viewer::{Refused, Viewer};

/// Requests are a few names and a reason.
const BODY_LIMIT_BYTES: usize = 16 * 1024;

/// All routes.
pub fn router(relay: Arc<Relay>) -> Router {
    Router::new()
        .route("/v1/tenants", get(show::tenants))
        .route("/v1/tunnels", get(show::tunnels))
        .route("/v1/sessions", get(show::sessions))
        .route("/v1/neighbors", get(show::neighbors))
        .route("/v1/drops", get(show::drops))
        .route("/v1/ports", get(show::ports))
        .route("/v1/isolations", get(show::isolations))
        .route("/v1/explain-ike", get(ipsec::explain))
        .route("/v1/reload", post(change::reload))
        .route("/v1/isolate", post(change::isolate))
        .route("/v1/reopen", post(change::reopen))
        .fallback(|| async { ApiError::new(StatusCode::NOT_FOUND, "there is no such request") })
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .with_state(relay)
}

/// Answer requests on `listener` until the runtime ends.
///
/// # Errors
/// What `accept` says.
pub async fn serve(listener: UnixListener, relay: Arc<Relay>) -> io::Result<()> {
    axum::serve(listener, router(relay).into_make_service_with_connect_info::<Peer>()).await
}

/// Bind the socket with mode 0660: whoever shall connect belongs to the relay's group, and what they may see is decided for each request.
///
/// # Errors
/// `AddrInUse` where another relay answers on it, else what the kernel says.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    remove_leftover(path)?;
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// A killed run leaves its socket behind; a living one answers.
fn remove_leftover(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "is there and no socket: choose another `api.socket`"))
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "another relay answers here: stop it first, or choose another `api.socket`"))
        }
        Ok(_) => std::fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The process at the other end of the socket.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its user; `None` where the kernel does not say.
    pub uid: Option<u32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self::of(stream.io())
    }
}

impl Peer {
    fn of(stream: &UnixStream) -> Self {
        Self { uid: stream.peer_cred().ok().map(|credentials| credentials.uid()) }
    }
}

/// An error as the API answers it.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    failure: Failure,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, failure: Failure { error: error.into(), problems: Vec::new() } }
    }

    pub(crate) fn with_problems(mut self, problems: Vec<String>) -> Self {
        self.failure.problems = problems;
        self
    }

    /// The one answer to a tenant that does not exist and to one that is somebody else's.
    pub(crate) fn no_such_tenant() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is no such tenant")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self.failure)).into_response()
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Stranger => {
                Self::new(StatusCode::FORBIDDEN, "your user is no viewer: the operator adds it to `api.viewers` in relay.yaml")
            }
            Refused::NotAnOperator => Self::new(StatusCode::FORBIDDEN, "only an operator may ask as another viewer"),
            Refused::NoSuchViewer => Self::new(StatusCode::NOT_FOUND, "there is no viewer of this name in `api.viewers`"),
        }
    }
}

impl From<NoAnswer> for ApiError {
    fn from(no_answer: NoAnswer) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, no_answer.to_string())
    }
}

#[derive(Deserialize)]
struct SeenAs {
    viewer: Option<String>,
}

/// Every handler takes a viewer, so none can forget to ask who it answers.
impl FromRequestParts<Arc<Relay>> for Viewer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, relay: &Arc<Relay>) -> Result<Self, ApiError> {
        let uid = parts.extensions.get::<ConnectInfo<Peer>>().and_then(|ConnectInfo(peer)| peer.uid).ok_or(Refused::Stranger)?;
        let Query(seen_as) = Query::<SeenAs>::try_from_uri(&parts.uri).map_err(|error| ApiError::new(error.status(), error.body_text()))?;
        let setup = Arc::clone(&relay.state().setup);
        let own_uid = rustix::process::geteuid().as_raw();
        Ok(Self::identify(setup.model.api.as_ref(), own_uid, uid, seen_as.viewer.as_deref())?)
    }
}

#[cfg(test)]
mod tests;

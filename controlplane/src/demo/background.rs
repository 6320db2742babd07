//! A thread that serves descriptors until its handle says stop.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::thread::JoinHandle;

use super::error::{Context, DemoError};
use super::namespaces::{Namespace, spawn_in};

/// The handle of a background thread. Dropping it stops the thread and waits for it.
#[derive(Debug)]
pub(crate) struct Background {
    /// Closing the pipe is the signal: the thread finds its end readable.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts `work` on a thread in `namespace`. `work` must end soon after its argument becomes readable.
    pub(crate) fn start(namespace: &Namespace, name: &str, work: impl FnOnce(PipeReader) + Send + 'static) -> Result<Self, DemoError> {
        let (reader, writer) = io::pipe().doing(|| format!("make the stop signal of thread {name}"))?;
        let thread = spawn_in(namespace, name, move || work(reader))?;
        Ok(Self { stop: Some(writer), thread: Some(thread) })
    }

    /// Makes the thread's signal readable once, to have it look for work elsewhere: see [`is_stop`].
    pub(crate) fn wake(&self) {
        // A full pipe means that it has been woken already; a broken one that it has ended.
        let _ = self.stop.as_ref().map(|mut pipe| pipe.write(&[1]));
    }

    /// Whether the thread has ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

/// What a readable signal says: `true` to stop, `false` after a [`Background::wake`].
pub(crate) fn is_stop(signal: &mut PipeReader) -> bool {
    !matches!(signal.read(&mut [0]), Ok(1))
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic was printed when it happened; a second one from here would abort the process.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

//! Asking the running relay over its socket.

use std::io;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::api::rows::Failure;

/// The running relay.
#[derive(Debug)]
pub(super) struct Client<'a> {
    pub(super) socket: &'a Path,
    pub(super) viewer: Option<&'a str>,
    /// Whether the caller is a program, which wants refusals as JSON too.
    pub(super) json: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error("{}: {}", .0.display(), connect_help(.1))]
    Connect(PathBuf, io::Error),
    #[error("the relay's answer was cut off: {0}")]
    Http(#[from] hyper::Error),
    #[error("the relay's answer cannot be understood, it may be another version: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{}", failure_text(.failure))]
    Refused { failure: Failure, json: bool },
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("a name cannot be part of a request: {0}")]
    Request(#[from] hyper::http::Error),
}

fn connect_help(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "no relay answers here: is `chukei run` running, and is this its `api.socket`? (--socket PATH)".to_owned()
        }
        io::ErrorKind::PermissionDenied => "your user may not connect: it has to be in the relay's group, and in `api.viewers`".to_owned(),
        _ => error.to_string(),
    }
}

fn failure_text(failure: &Failure) -> String {
    std::iter::once(&failure.error).chain(&failure.problems).map(String::as_str).collect::<Vec<_>>().join("\n")
}

impl Client<'_> {
    /// Ask for `path` with query parameters.
    pub(super) fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, CommandError> {
        self.request(Method::GET, path, query, Bytes::new())
    }

    /// Ask for a change.
    pub(super) fn post(&self, path: &str, body: &impl Serialize) -> Result<Value, CommandError> {
        self.request(Method::POST, path, &[], serde_json::to_vec(body)?.into())
    }

    fn request(&self, method: Method, path: &str, query: &[(&str, &str)], body: Bytes) -> Result<Value, CommandError> {
        let viewer = self.viewer.map(|viewer| ("viewer", viewer));
        let query: Vec<String> =
            query.iter().copied().chain(viewer).map(|(key, value)| format!("{key}={}", percent_encoded(value))).collect();
        let request = Request::builder()
            .method(method)
            .uri(format!("{path}?{}", query.join("&")))
            .header(header::HOST, "chukei")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(self.exchange(request))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Value, CommandError> {
        let stream = UnixStream::connect(self.socket).await.map_err(|error| CommandError::Connect(self.socket.to_owned(), error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status == StatusCode::OK {
            return Ok(serde_json::from_slice(&body)?);
        }
        let plain = || Failure { error: String::from_utf8_lossy(&body).into_owned(), problems: Vec::new() };
        let failure = serde_json::from_slice(&body).unwrap_or_else(|_| plain());
        Err(CommandError::Refused { failure, json: self.json })
    }
}

/// RFC 3986 section 2.1: everything but unreserved characters as `%XX`.
fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_add_parameters_to_a_query() {
        assert_eq!(percent_encoded("a&viewer=b"), "a%26viewer%3Db");
        assert_eq!(percent_encoded("千"), "%E5%8D%83");
    }

    #[test]
    fn a_missing_socket_says_what_to_start() {
        let client = Client { socket: Path::new("/nonexistent/api.sock"), viewer: None, json: false };
        let error = client.get("/v1/tenants", &[]).expect_err("nobody there").to_string();
        assert!(error.starts_with("/nonexistent/api.sock: no relay answers here"), "{error}");
    }
}

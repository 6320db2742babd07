//! The page for Prometheus and the two questions of a service manager, over TCP.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::metrics::{self, IpsecScrape, Scrape};
use crate::relay::Relay;

/// All routes.
pub fn router(relay: Arc<Relay>) -> Router {
    Router::new().route("/metrics", get(scrape)).route("/healthz", get(healthz)).route("/readyz", get(readyz)).with_state(relay)
}

/// Answer scrapes on `listener` until the runtime ends.
///
/// # Errors
/// What `accept` says.
pub async fn serve(listener: TcpListener, relay: Arc<Relay>) -> io::Result<()> {
    axum::serve(listener, router(relay)).await
}

async fn scrape(State(relay): State<Arc<Relay>>) -> Response {
    let (clocks, workers) = (relay.workers.clocks(), relay.workers.counters());
    // Asked before the state is held: key exchange waits for nobody, and nobody for it.
    let (counters, statuses) = (relay.ipsec.counters(), relay.ipsec.statuses());
    let state = relay.state();
    let certificates = state.setup.certificates();
    let page = metrics::text(&Scrape {
        relay: &state.setup.model.name,
        router: &state.router(),
        registry: &state.registry,
        ports: &relay.nics,
        workers: &workers,
        clocks,
        started: relay.started,
        generation: state.generation,
        last_reload: state.last_reload,
        ipsec: &IpsecScrape { counters, statuses, certificates },
    });
    ([(header::CONTENT_TYPE, metrics::content_type())], page).into_response()
}

/// Alive: every worker polls, and key exchange goes on.
async fn healthz(State(relay): State<Arc<Relay>>) -> (StatusCode, String) {
    match relay.ailment() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(ailment) => (StatusCode::SERVICE_UNAVAILABLE, format!("{ailment}: restart the relay and keep its log\n")),
    }
}

/// Ready: every worker forwards by the configuration that was published last.
async fn readyz(State(relay): State<Arc<Relay>>) -> (StatusCode, &'static str) {
    if relay.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "a worker has not adopted the configuration yet\n")
    }
}

#[cfg(test)]
mod tests;

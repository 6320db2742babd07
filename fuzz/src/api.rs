//! The API: whatever is asked, by whomever, the answer is no accident, can be read, and tells nobody of what is not theirs.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, Request, StatusCode, header};
use controlplane::api::{self, Peer};
use controlplane::clock;
use controlplane::relay::Relay;
use controlplane::testing::Site;
use http_body_util::BodyExt;
use tower_service::Service;

use crate::{Input, answers};

const MOST_REQUESTS: usize = 8;
const OWN: &str = "131016";
const FOREIGN: &str = "131024";
const PATHS: [&str; 12] = [
    "/v1/tenants",
    "/v1/tunnels",
    "/v1/sessions",
    "/v1/neighbors",
    "/v1/drops",
    "/v1/ports",
    "/v1/isolations",
    "/v1/explain-ike",
    "/v1/reload",
    "/v1/isolate",
    "/v1/reopen",
    "/",
];

/// Who asks: an operator, one tenant's contractor, an auditor, a stranger, and somebody of whom the kernel says nothing.
const VIEWERS: [Option<u32>; 5] = [Some(0), Some(2_001), Some(2_002), Some(4_242), None];
const OPERATOR: usize = 0;
const CONTRACTOR: usize = 1;

/// Requests, one after the other, to a relay with two tenants.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    // Time passes as soon as nobody has anything to do.
    let runtime = runtime.enable_all().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let site = Site::new();
        let relay = site.start(clock::now());
        let mut router = api::router(Arc::clone(&relay));
        for _ in 0..MOST_REQUESTS {
            if input.is_empty() {
                break;
            }
            ask(&mut router, &relay, &mut input).await;
        }
    });
}

async fn ask(router: &mut Router, relay: &Relay, input: &mut Input<'_>) {
    let (who, how) = (usize::from(input.u8()) % VIEWERS.len(), input.u8());
    let path = PATHS.get(usize::from(how >> 2) % (PATHS.len() + 1)).map_or_else(|| input.short(), |path| path.as_bytes());
    let (query, len) = (input.short(), usize::from(input.u16()));
    let body = input.take(len);
    let target = if query.is_empty() { path.to_vec() } else { [path, b"?", query].concat() };
    let method = [Method::GET, Method::POST, Method::POST, Method::HEAD][usize::from(how & 3)].clone();
    let request = Request::builder().method(method).uri(&target[..]).header(header::CONTENT_TYPE, "application/json");
    // What is no target does not come out of the HTTP parser either.
    let Ok(mut request) = request.body(Body::from(body.to_vec())) else { return };
    request.extensions_mut().insert(ConnectInfo(Peer { uid: VIEWERS[who] }));

    let before = changed_by_operators(relay);
    let question = request.uri().path().to_owned();
    let response = router.call(request).await.expect("the router always answers");
    let (head, body_of_answer) = response.into_parts();
    let answer = body_of_answer.collect().await.expect("a whole body").to_bytes();
    let text = std::str::from_utf8(&answer).expect("text");
    assert!(head.status != StatusCode::INTERNAL_SERVER_ERROR, "{question}: {text}");
    assert!(who == OPERATOR || changed_by_operators(relay) == before, "only operators change anything");
    let asked = [&target[..], body].concat();
    let names = |name: &str| asked.windows(name.len()).any(|window| window == name.as_bytes());
    match who {
        OPERATOR => {}
        CONTRACTOR => assert!(!text.contains(FOREIGN) || names(FOREIGN), "{question} tells of a foreign tenant: {text}"),
        2 => {}
        _ => assert!(!text.contains(OWN) && !text.contains(FOREIGN) || names("1310"), "{question} answers a stranger: {text}"),
    }
    if head.status == StatusCode::OK && !text.is_empty() {
        assert!(who < 3, "a stranger is answered: {text}");
        answers::of(&question, text);
    }
}

fn changed_by_operators(relay: &Relay) -> (u64, usize) {
    let state = relay.state();
    (state.generation, state.isolations.list().len())
}

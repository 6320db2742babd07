use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::clock;
use crate::testing::Site;

/// A relay that answers on its socket; the test runs as root or as the relay's own user and so is its operator.
async fn served(site: &Site) -> Arc<Relay> {
    let relay = site.start(clock::now());
    let listener = bind(&site.path("api.sock")).expect("bound");
    tokio::spawn(serve(listener, Arc::clone(&relay)));
    tokio::task::yield_now().await;
    relay
}

/// Status and body, byte for byte, without the headers that carry a date.
async fn ask(site: &Site, method: &str, target: &str, body: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(site.path("api.sock")).await.expect("connected");
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all((head + body).as_bytes()).await.expect("written");
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("in time").expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head[9..12].parse().expect("a status"), body.to_owned())
}

async fn get(site: &Site, target: &str) -> (u16, String) {
    ask(site, "GET", target, "").await
}

const QUESTIONS: [&str; 6] = ["tenants", "tunnels", "sessions", "neighbors", "drops", "isolations"];

#[tokio::test]
async fn a_foreign_tenant_answers_exactly_as_one_that_does_not_exist() {
    let site = Site::new();
    let _relay = served(&site).await;
    for question in QUESTIONS {
        let foreign = get(&site, &format!("/v1/{question}?viewer=chiyoda&tenant=131024-chuo")).await;
        let missing = get(&site, &format!("/v1/{question}?viewer=chiyoda&tenant=999999-nowhere")).await;
        assert_eq!(foreign, missing, "{question}");
        assert_eq!(foreign.0, 404);
        let own = get(&site, &format!("/v1/{question}?viewer=chiyoda&tenant=131016-chiyoda")).await;
        assert_eq!(own.0, 200, "{question}");
    }
    for change in ["isolate", "reopen"] {
        let post = async |tenant: &str| {
            let scope = format!("{{\"tenant\":\"{tenant}\"}}");
            let body = if change == "isolate" { format!("{{\"scope\":{scope},\"reason\":\"x\"}}") } else { scope };
            ask(&site, "POST", &format!("/v1/{change}?viewer=chiyoda"), &body).await
        };
        assert_eq!(post("131024-chuo").await, post("999999-nowhere").await);
        assert_eq!(post("131016-chiyoda").await.0, 403, "{change} of one's own tenant is the operator's to do");
    }
}

#[tokio::test]
async fn no_answer_to_a_contractor_holds_a_word_about_another_tenant_or_the_relay() {
    let site = Site::new();
    let relay = served(&site).await;
    let router = relay.state().router();
    router.tenants.iter().for_each(|entry| entry.counters.drops.add(dataplane::drop_reason::DropReason::NoSession, 1));
    router.tenants.iter().for_each(|entry| entry.counters.sessions.set(1));
    router.ports.iter().for_each(|port| {
        port.counters.share(dataplane::router_config::WorkerId(0)).drops.add(dataplane::drop_reason::DropReason::VlanUnknown, 1);
    });
    let chuo = r#"{"scope":{"tenant":"131024-chuo"},"reason":"malware"}"#;
    assert_eq!(ask(&site, "POST", "/v1/isolate", chuo).await.0, 200);
    for question in QUESTIONS.into_iter().chain(["ports"]) {
        let (status, operator) = get(&site, &format!("/v1/{question}")).await;
        assert_eq!(status, 200, "{question}: {operator}");
        let (status, contractor) = get(&site, &format!("/v1/{question}?viewer=chiyoda")).await;
        assert_eq!(status, 200);
        for word in ["chuo", "vlan_unknown", "access", "malware"] {
            let from_own_neighbor = question == "neighbors" && word == "access";
            assert!(!contractor.contains(word) || from_own_neighbor, "{question}: {word} in {contractor}");
        }
        assert!(question == "ports" || question == "isolations" || contractor.contains("131016-chiyoda"), "{question}: {contractor}");
        assert!(question == "ports" || operator.contains("131024-chuo"), "{question}: {operator}");
    }
}

#[tokio::test]
async fn an_auditor_reads_everything_and_changes_nothing() {
    let site = Site::new();
    let relay = served(&site).await;
    let (status, body) = get(&site, "/v1/tenants?viewer=audit").await;
    assert!(status == 200 && body.contains("131016-chiyoda") && body.contains("131024-chuo"));
    let chuo = r#"{"scope":{"tenant":"131024-chuo"},"reason":"x"}"#;
    assert_eq!(ask(&site, "POST", "/v1/isolate?viewer=audit", chuo).await.0, 403);
    assert_eq!(ask(&site, "POST", "/v1/reload?viewer=audit", "null").await.0, 403);
    assert_eq!(relay.state().generation, 1);
    assert!(relay.state().isolations.list().is_empty());
}

#[tokio::test]
async fn a_tunnel_that_is_down_is_listed_with_its_reason_over_all_parts_of_a_long_answer() {
    let site = Site::new();
    site.tenant("131032-minato", 2103, "");
    let _relay = served(&site).await;
    let (_, body) = get(&site, "/v1/tunnels").await;
    let answer: rows::Answer<rows::TunnelRow> = serde_json::from_str(&body).expect("rows");
    assert_eq!(answer.rows.len(), 3, "the fake worker answers two rows at a time");
    for row in &answer.rows {
        assert_eq!((row.state.as_str(), row.reason.as_str()), ("down", "The municipality's router has never called."));
        assert!(row.since <= answer.now);
    }
}

#[tokio::test]
async fn a_refused_reload_answers_with_every_problem() {
    let site = Site::new();
    let _relay = served(&site).await;
    site.tenant("131016-chiyoda", 2102, "");
    let (status, body) = ask(&site, "POST", "/v1/reload", "null").await;
    let failure: Failure = serde_json::from_str(&body).expect("a failure");
    assert_eq!(status, 422);
    assert!(failure.problems.iter().any(|problem| problem.contains("2102")), "{failure:?}");
}

#[tokio::test]
async fn a_huge_or_crooked_request_is_refused() {
    let site = Site::new();
    let _relay = served(&site).await;
    let huge = format!(r#"{{"scope":{{"tenant":"131016-chiyoda"}},"reason":"{}"}}"#, "x".repeat(BODY_LIMIT_BYTES));
    assert_eq!(ask(&site, "POST", "/v1/isolate", &huge).await.0, 413);
    let long = format!(r#"{{"scope":{{"tenant":"131016-chiyoda"}},"reason":"{}"}}"#, "x".repeat(501));
    assert_eq!(ask(&site, "POST", "/v1/isolate", &long).await.0, 400);
    assert_eq!(ask(&site, "POST", "/v1/isolate", r#"{"scope":{"tenant":"131016-chiyoda"},"reason":" "}"#).await.0, 400);
    assert_eq!(ask(&site, "POST", "/v1/isolate", r#"{"scope":{"tenant":"131016-chiyoda"},"reason":"x","force":1}"#).await.0, 422);
    assert_eq!(get(&site, "/v1/../tenants").await.0, 404);
    assert_eq!(get(&site, "/v1/tenants?viewer=nobody").await.0, 404);
}

#[tokio::test]
async fn a_reason_cannot_forge_a_second_line() {
    let site = Site::new();
    let relay = served(&site).await;
    let body = r#"{"scope":{"tenant":"131016-chiyoda"},"reason":"evil\nINFO all is well\u001b[2J"}"#;
    assert_eq!(ask(&site, "POST", "/v1/isolate", body).await.0, 200);
    assert_eq!(relay.state().isolations.list()[0].reason, "evil INFO all is well [2J");
}

#[tokio::test]
async fn a_cut_off_whose_tenant_is_gone_is_listed_as_matching_nothing() {
    let site = Site::new();
    let _relay = served(&site).await;
    for tenant in ["131016-chiyoda", "131024-chuo"] {
        let body = format!(r#"{{"scope":{{"tenant":"{tenant}"}},"reason":"malware"}}"#);
        assert_eq!(ask(&site, "POST", "/v1/isolate", &body).await.0, 200);
    }
    std::fs::remove_file(site.path("tenants/131024-chuo.yaml")).expect("there");
    let (_, answer) = ask(&site, "POST", "/v1/reload", "null").await;
    let done: rows::Done = serde_json::from_str(&answer).expect("done");
    assert!(done.warnings.iter().any(|warning| warning.contains("the cut-off of 131024-chuo matches nothing")), "{done:?}");
    let (_, body) = get(&site, "/v1/isolations").await;
    let answer: rows::Answer<rows::IsolationRow> = serde_json::from_str(&body).expect("rows");
    let rows: Vec<_> = answer.rows.iter().map(|row| (row.isolation.scope.tenant.as_str(), row.matches)).collect();
    assert_eq!(rows, [("131016-chiyoda", true), ("131024-chuo", false)]);
}

#[tokio::test]
async fn a_cut_off_that_is_not_on_disk_succeeds_with_a_warning() {
    let site = Site::new();
    let _relay = served(&site).await;
    std::fs::rename(site.path("state"), site.path("state.away")).expect("moved");
    site.write("state", "");
    let change = async |path: &str, body: &str| {
        let (status, answer) = ask(&site, "POST", path, body).await;
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str::<rows::Done>(&answer).expect("done")
    };
    let isolated = change("/v1/isolate", r#"{"scope":{"tenant":"131016-chiyoda"},"reason":"malware"}"#).await;
    assert!(isolated.effective && !isolated.saved);
    assert!(isolated.warnings[0].starts_with("warning: in force, but would not outlive a restart"), "{isolated:?}");
    let reopened = change("/v1/reopen", r#"{"tenant":"131016-chiyoda"}"#).await;
    assert!(reopened.effective && !reopened.saved);
    assert!(reopened.warnings[0].starts_with("warning: in force, but a restart would bring the cut-off back"), "{reopened:?}");
}

#[tokio::test]
async fn the_socket_is_closed_to_others_and_a_killed_runs_leftover_is_replaced_but_a_living_relay_is_not() {
    let site = Site::new();
    let path = site.path("api.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a killed run's socket"));
    let _living = bind(&path).expect("replaced");
    assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o660);
    assert_eq!(bind(&path).expect_err("in use").kind(), io::ErrorKind::AddrInUse);
    site.write("file", "precious");
    assert!(bind(&site.path("file")).is_err());
    assert!(site.path("file").exists());
}

#[tokio::test]
async fn key_exchange_is_explained_for_ones_own_tenant_and_by_address_to_those_who_see_the_whole_relay() {
    let site = Site::new();
    let _relay = served(&site).await;
    let foreign = get(&site, "/v1/explain-ike?viewer=chiyoda&tenant=131024-chuo").await;
    assert_eq!(foreign, get(&site, "/v1/explain-ike?viewer=chiyoda&tenant=999999-nowhere").await);
    assert_eq!(foreign.0, 404);
    assert_eq!(get(&site, "/v1/explain-ike?viewer=chiyoda&tenant=131016-chiyoda").await.0, 200);
    let (status, body) = get(&site, "/v1/explain-ike?viewer=chiyoda&peer=198.51.100.7").await;
    assert_eq!(status, 403, "before an identity is known an address is nobody's: {body}");
    for viewer in ["", "viewer=audit&"] {
        let (status, body) = get(&site, &format!("/v1/explain-ike?{viewer}peer=198.51.100.7")).await;
        assert_eq!(status, 200, "{body}");
        assert!(body.contains("\"rows\":[]"), "nobody has called: {body}");
    }
    for nonsense in ["", "?peer=198.51.100.7&tenant=131016-chiyoda", "?peer=nowhere"] {
        assert_eq!(get(&site, &format!("/v1/explain-ike{nonsense}")).await.0, 400, "{nonsense}");
    }
}

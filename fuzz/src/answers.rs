//! The API's answers as commands and programs read them: any JSON is refused or understood, and what is understood is written as it was.

use controlplane::api::rows::{
    Answer, Done, DropRow, Failure, IsolationRow, NegotiationRow, NeighborRow, PortRow, SessionRow, TenantRow, TunnelRow,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The first octet chooses the question; the rest is the answer.
pub fn check(data: &[u8]) {
    let Some((first, json)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(json) else { return };
    let _ = match first % 10 {
        0 => reads::<Answer<TenantRow>>(text),
        1 => reads::<Answer<TunnelRow>>(text),
        2 => reads::<Answer<SessionRow>>(text),
        3 => reads::<Answer<NeighborRow>>(text),
        4 => reads::<Answer<DropRow>>(text),
        5 => reads::<Answer<PortRow>>(text),
        6 => reads::<Answer<IsolationRow>>(text),
        7 => reads::<Answer<NegotiationRow>>(text),
        8 => reads::<Done>(text),
        _ => reads::<Failure>(text),
    };
}

/// An answer that the relay gave.
pub(crate) fn of(question: &str, text: &str) {
    let understood = match question {
        "/v1/tenants" => reads::<Answer<TenantRow>>(text),
        "/v1/tunnels" => reads::<Answer<TunnelRow>>(text),
        "/v1/sessions" => reads::<Answer<SessionRow>>(text),
        "/v1/neighbors" => reads::<Answer<NeighborRow>>(text),
        "/v1/drops" => reads::<Answer<DropRow>>(text),
        "/v1/ports" => reads::<Answer<PortRow>>(text),
        "/v1/isolations" => reads::<Answer<IsolationRow>>(text),
        "/v1/explain-ike" => reads::<Answer<NegotiationRow>>(text),
        _ => reads::<Done>(text),
    };
    assert!(understood, "{question}: {text}");
}

/// Whether it can be read as a `T`.
fn reads<T: Serialize + DeserializeOwned>(text: &str) -> bool {
    let Ok(read) = serde_json::from_str::<T>(text) else { return false };
    let written = serde_json::to_string(&read).expect("what was read can be written");
    let again: T = serde_json::from_str(&written).expect("what was written can be read");
    assert_eq!(serde_json::to_string(&again).expect("as before"), written);
    true
}

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::testing::Site;

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await.expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("text");
    answer
}

#[tokio::test]
async fn a_running_relay_is_alive_becomes_ready_and_is_scraped() {
    let site = Site::new();
    let relay = site.start(crate::clock::now());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(serve(listener, Arc::clone(&relay)));
    assert!(relay.adopted(1).await);
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
    let page = get(address, "/metrics").await;
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("content-type: text/plain; version=0.0.4"), "{page}");
    assert!(page.contains(r#"chukei_tunnel_configured{tenant="131016-chiyoda",tunnel="main"} 1"#));
    assert!(page.contains("chukei_config_last_reload_successful 1"));
}

#[tokio::test]
async fn a_relay_whose_worker_lags_behind_the_published_configuration_is_not_ready() {
    let site = Site::new();
    let relay = site.start(crate::clock::now());
    // The fake worker has not been polled yet: nothing awaited since.
    assert_eq!(readyz(State(relay)).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

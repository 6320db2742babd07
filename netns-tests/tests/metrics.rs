//! Debian's Prometheus scrapes the running relay: every panel of the dashboards has data, and the rules are sound.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use controlplane::demo::Namespace;
use netns_tests::plan::{SHARED_GLOBAL, three_municipalities};
use netns_tests::process::{Running, eventually, finish, output, text_of, wait_until};
use netns_tests::relay::{Driver, METRICS, http_get, relay_among};
use netns_tests::topology::Lab;
use serde_json::Value;

const PROMETHEUS: &str = "127.0.0.1:19090";

fn configs(directory: &str, extension: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs").join(directory);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("read {}: {error}", directory.display()));
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no .{extension} file", directory.display());
    files
}

/// Files in `configs/prometheus` that have this key at their top level.
fn prometheus_files(key: &str) -> Vec<PathBuf> {
    let has_key = |path: &PathBuf| fs::read_to_string(path).is_ok_and(|text| text.lines().any(|line| line.starts_with(key)));
    let files: Vec<PathBuf> = configs("prometheus", "yml").into_iter().filter(has_key).collect();
    assert!(!files.is_empty(), "configs/prometheus has no file with `{key}`");
    files
}

fn rule_files() -> Vec<PathBuf> {
    prometheus_files("groups:")
}

fn promtool(arguments: &[&str], file: &Path) -> String {
    let mut promtool = Command::new("promtool");
    promtool.args(arguments).arg(file);
    text_of(&finish(promtool), &format!("promtool {} {}", arguments.join(" "), file.display()))
}

#[test]
fn promtool_accepts_the_rules_and_their_tests_and_the_scrape_configuration() {
    for file in rule_files() {
        assert!(promtool(&["check", "rules"], &file).contains("SUCCESS"));
    }
    for file in prometheus_files("tests:") {
        assert!(promtool(&["test", "rules"], &file).contains("SUCCESS"));
    }
    for file in prometheus_files("scrape_configs:") {
        assert!(promtool(&["check", "config"], &file).contains("SUCCESS"));
    }
}

#[test]
fn every_panel_of_every_dashboard_has_data_from_a_relay_at_work() {
    let mut plans = three_municipalities();
    plans[2] = plans[2].clone().with_ipsec();
    let (lab, relay) = relay_among(plans, Driver::AfXdp);
    let prometheus = start_prometheus(&lab);
    let (status, page) = http_get(&lab.relay, "/metrics");
    assert_eq!(status, 200);
    let names: BTreeSet<&str> =
        page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(['{', ' ']).next()).collect();
    assert!(names.iter().all(|name| name.starts_with("chukei_")), "{names:?}");
    assert_eq!([http_get(&lab.relay, "/healthz").0, http_get(&lab.relay, "/readyz").0], [200, 200]);

    // Two scrapes with traffic and losses between them make a rate.
    for _ in 0..4 {
        for town in &lab.towns {
            town.counter().fetch(&format!("http://{SHARED_GLOBAL}/who")).expect("an answer");
            town.counter().send_datagram((SHARED_GLOBAL, 54), b"closed");
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    // Nobody has a certificate here; the test of certificates asks for their expiry.
    let asked = panel_expressions().into_iter().filter(|expression| !expression.contains("chukei_certificate_expiry_timestamp_seconds"));
    let empty: Vec<String> = asked.filter(|expression| !has_data(&lab.relay, expression)).collect();
    assert!(empty.is_empty(), "panels without data: {empty:#?}");

    let up = query(&lab.relay, "sum(chukei_tunnel_up)").expect("a value");
    assert_eq!(up[0]["value"][1], "3");
    assert_eq!(relay.metric("chukei_dropped_packets_total{reason=\"service_port_closed\",stage=\"policy\"}"), Some(12.0));
    assert!(!query(&lab.relay, "up == 1").expect("an answer").is_empty(), "{}", prometheus.log());
}

fn start_prometheus(lab: &Lab) -> Running {
    let rules: String = rule_files().iter().map(|path| format!("  - {}\n", path.canonicalize().expect("a path").display())).collect();
    let yaml = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files:\n{rules}scrape_configs:\n  - job_name: chukei\n    static_configs: [{{targets: [\"{METRICS}\"]}}]\n"
    );
    let (configuration, data) = (lab.directory().join("prometheus.yaml"), lab.directory().join("prometheus"));
    fs::write(&configuration, yaml).expect("write prometheus.yaml");
    let arguments = [
        format!("--config.file={}", configuration.display()),
        format!("--storage.tsdb.path={}", data.display()),
        format!("--web.listen-address={PROMETHEUS}"),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let prometheus = Running::start(&lab.relay, lab.directory(), "prometheus", "prometheus", &arguments);
    wait_until("Prometheus answers", Duration::from_secs(20), || query(&lab.relay, "up").is_some_and(|rows| !rows.is_empty()));
    prometheus
}

/// The rows of an instant query; `None` when Prometheus refuses the expression or is not there.
fn query(namespace: &Namespace, expression: &str) -> Option<Vec<Value>> {
    let (url, argument) = (format!("http://{PROMETHEUS}/api/v1/query"), format!("query={expression}"));
    let output = output(namespace, Duration::from_secs(10), "curl", &["--silent", "--get", "--data-urlencode", &argument, &url]);
    let answer: Value = serde_json::from_slice(&output.stdout).ok()?;
    answer["data"]["result"].as_array().cloned()
}

fn has_data(namespace: &Namespace, expression: &str) -> bool {
    eventually(Duration::from_secs(3), || query(namespace, expression).filter(|rows| !rows.is_empty())).is_some()
}

/// The queries of all panels, with Grafana's variables filled in as its first screen would.
fn panel_expressions() -> Vec<String> {
    let mut expressions = Vec::new();
    for file in configs("grafana", "json") {
        let text = fs::read_to_string(&file).expect("read a dashboard");
        collect_expressions(&serde_json::from_str(&text).expect("JSON"), &mut expressions);
    }
    assert!(!expressions.is_empty(), "no panel asks for anything");
    expressions.iter().map(|expression| fill_in(expression)).collect()
}

fn collect_expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("expr").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|child| collect_expressions(child, found));
        }
        Value::Array(list) => list.iter().for_each(|child| collect_expressions(child, found)),
        _ => (),
    }
}

fn fill_in(expression: &str) -> String {
    let mut filled = expression.to_owned();
    for (variable, value) in
        [("$__rate_interval", "30s"), ("$__interval", "30s"), ("$__range", "30s"), ("${__range}", "30s"), ("${__rate_interval}", "30s")]
    {
        filled = filled.replace(variable, value);
    }
    // What is left are the dashboard's own variables, each of which may be "all".
    let mut result = String::new();
    let mut rest = filled.as_str();
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        result.push_str(".*");
        rest = match after.strip_prefix('{') {
            Some(braced) => braced.split_once('}').map_or("", |(_, behind)| behind),
            None => after.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_'),
        };
    }
    result.push_str(rest);
    result
}

#[test]
fn the_variables_of_a_dashboard_are_filled_in() {
    assert_eq!(fill_in("rate(a{tenant=~\"$tenant\"}[$__rate_interval])"), "rate(a{tenant=~\".*\"}[30s])");
    assert_eq!(fill_in("a{x=~\"${port:regex}\",y=\"1\"}"), "a{x=~\".*\",y=\"1\"}");
}

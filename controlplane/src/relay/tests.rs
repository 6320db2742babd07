use super::*;
use crate::reload::ReloadRefused;
use crate::testing::Site;
use dataplane::router_config::RuleState;
use time::macros::datetime;

fn isolation(tenant: &str, service: Option<&str>) -> Isolation {
    let scope = Scope { tenant: tenant.into(), class: None, service: service.map(Into::into) };
    Isolation { scope, reason: "malware found".into(), by: "uid 0".into(), at: clock::now() }
}

fn entry(relay: &Relay, tenant: &str) -> dataplane::router_config::TenantEntry {
    let router = relay.state().router();
    router.tenants.iter().find(|entry| *entry.config.name == *tenant).expect("configured").clone()
}

#[tokio::test]
async fn a_reload_with_one_bad_file_among_good_changes_changes_nothing() {
    let site = Site::new();
    let relay = site.start(clock::now());
    let before = relay.state().router();
    site.tenant("131016-chiyoda", 2201, "");
    site.tenant("131024-chuo", 2102, ", colour: red");
    let Err(ReloadRefused::Problems(problems)) = relay.reload("test").await else { panic!("refused") };
    assert!(problems.iter().any(|problem| problem.to_string().contains("131024-chuo.yaml:10:")), "{problems:?}");
    assert!(Arc::ptr_eq(&before, &relay.state().router()));
    assert_eq!(relay.state().generation, 1);
    assert!(!relay.state().last_reload.0, "metrics say that the files are bad");
}

#[tokio::test]
async fn a_good_reload_leaves_unchanged_tenants_alone_and_keeps_the_counters_of_changed_ones() {
    let site = Site::new();
    let relay = site.start(clock::now());
    let (chiyoda, chuo) = (entry(&relay, "131016-chiyoda"), entry(&relay, "131024-chuo"));
    site.tenant("131024-chuo", 2202, "");
    site.tenant("131032-minato", 2203, "");
    let reloaded = relay.reload("test").await.expect("good");
    assert_eq!((reloaded.changes.added, reloaded.changes.changed), (vec!["131032-minato".into()], vec!["131024-chuo".into()]));
    assert!(reloaded.adopted && relay.is_ready());
    assert!(Arc::ptr_eq(&chiyoda.config, &entry(&relay, "131016-chiyoda").config));
    assert!(!Arc::ptr_eq(&chuo.config, &entry(&relay, "131024-chuo").config));
    assert!(Arc::ptr_eq(&chuo.counters, &entry(&relay, "131024-chuo").counters));
}

#[tokio::test]
async fn what_needs_a_restart_is_refused_by_name() {
    let site = Site::new();
    let relay = site.start(clock::now());
    site.replace_in_relay("socket: api.sock", "socket: other.sock");
    let refused = relay.reload("test").await.expect_err("refused").to_string();
    assert_eq!(refused, "`api.socket` changed, which needs a restart of the relay; nothing was changed");
    site.replace_in_relay("gateway: 192.0.2.254, mtu: 1500", "gateway: 192.0.2.253, mtu: 1500");
    let refused = relay.reload("test").await.expect_err("refused").to_string();
    assert!(refused.starts_with("`ports` changed"), "{refused}");
}

#[tokio::test]
async fn a_cut_off_holds_through_reload_and_restart_until_it_is_reopened() {
    let site = Site::new();
    let relay = site.start(clock::now());
    assert!(relay.isolate(isolation("131016-chiyoda", None)).await.expect("isolated").effective, "the worker obeys before the answer");
    assert!(relay.isolate(isolation("131024-chuo", Some("税"))).await.expect("isolated").effective);
    let holds = |relay: &Relay| {
        entry(relay, "131016-chiyoda").config.isolated && entry(relay, "131024-chuo").config.services[0].state == RuleState::Isolated
    };
    assert!(holds(&relay));
    relay.reload("test").await.expect("good");
    assert!(holds(&relay), "after a reload");
    let restarted = site.start(clock::now());
    assert!(holds(&restarted), "after a restart");
    restarted.reopen(&isolation("131016-chiyoda", None).scope).await.expect("reopened");
    assert!(!entry(&restarted, "131016-chiyoda").config.isolated);
    assert_eq!(entry(&restarted, "131024-chuo").config.services[0].state, RuleState::Isolated, "the other stays");
}

#[tokio::test]
async fn a_cut_off_needs_no_key_file_and_no_configuration_file() {
    let site = Site::new();
    let relay = site.start(clock::now());
    std::fs::remove_file(site.path("keys/relay.key")).expect("there");
    std::fs::remove_file(site.path("relay.yaml")).expect("there");
    assert!(relay.isolate(isolation("131016-chiyoda", None)).await.expect("isolated").effective);
    assert!(entry(&relay, "131016-chiyoda").config.isolated);
}

#[tokio::test]
async fn a_cut_off_that_matches_nothing_after_a_reload_or_at_the_start_is_warned_of_and_stays_on_file() {
    let site = Site::new();
    let relay = site.start(clock::now());
    relay.isolate(isolation("131016-chiyoda", Some("税"))).await.expect("isolated");
    relay.isolate(isolation("131024-chuo", None)).await.expect("isolated");
    assert_eq!(relay.reload("test").await.expect("good").warnings, []);
    let file = site.path("tenants/131016-chiyoda.yaml");
    let renamed = std::fs::read_to_string(&file).expect("there").replace("税", "住民税");
    std::fs::write(&file, renamed).expect("written");
    std::fs::remove_file(site.path("tenants/131024-chuo.yaml")).expect("there");

    let warnings: Vec<String> = relay.reload("test").await.expect("good").warnings.iter().map(ToString::to_string).collect();
    let expected = ["131016-chiyoda, service 税", "131024-chuo"];
    assert_eq!(warnings.len(), expected.len(), "{warnings:?}");
    for (warning, scope) in warnings.iter().zip(expected) {
        assert!(warning.starts_with("warning: "), "{warning}");
        assert!(warning.contains(&format!("the cut-off of {scope} matches nothing in the configuration")), "{warning}");
    }
    let restarted = site.start(clock::now());
    assert_eq!(restarted.state().unmatched_isolations().len(), 2, "the start warns of the same");
    assert_eq!(restarted.state().isolations.list().len(), 2, "they stay until they are reopened");
    restarted.reopen(&isolation("131024-chuo", None).scope).await.expect("a tenant that is gone can be reopened");
}

/// A file where the directory should be: nobody can write into it, not even root.
fn break_state_directory(site: &Site) {
    std::fs::rename(site.path("state"), site.path("state.away")).expect("moved");
    site.write("state", "");
}

#[tokio::test]
async fn a_cut_off_is_carried_out_with_a_broken_disk_and_written_as_soon_as_it_is_mended() {
    let site = Site::new();
    let relay = site.start(clock::now());
    break_state_directory(&site);
    let cut_off = relay.isolate(isolation("131016-chiyoda", None)).await.expect("isolated");
    assert!(cut_off.effective && cut_off.unsaved.is_some());
    assert!(entry(&relay, "131016-chiyoda").config.isolated);
    relay.tick(clock::now());
    assert!(!relay.state().isolations.is_saved());
    std::fs::remove_file(site.path("state")).expect("there");
    std::fs::rename(site.path("state.away"), site.path("state")).expect("moved back");
    relay.tick(clock::now());
    assert!(entry(&site.start(clock::now()), "131016-chiyoda").config.isolated, "after a restart");
}

#[tokio::test]
async fn a_reopening_that_a_restart_would_undo_says_so() {
    let site = Site::new();
    let relay = site.start(clock::now());
    relay.isolate(isolation("131016-chiyoda", None)).await.expect("isolated");
    break_state_directory(&site);
    let reopened = relay.reopen(&isolation("131016-chiyoda", None).scope).await.expect("reopened");
    assert!(reopened.effective && reopened.unsaved.is_some());
    assert!(!entry(&relay, "131016-chiyoda").config.isolated);
}

#[tokio::test]
async fn cutting_off_what_is_not_there_says_so_and_is_not_kept() {
    let site = Site::new();
    let relay = site.start(clock::now());
    let no_tenant = relay.isolate(isolation("999999-nowhere", None)).await;
    assert!(matches!(no_tenant, Err(IsolationRefused::NoSuchTenant)));
    let no_rule = relay.isolate(isolation("131016-chiyoda", Some("住民記録"))).await;
    assert!(matches!(no_rule, Err(IsolationRefused::NoSuchRule)));
    let not_isolated = relay.reopen(&isolation("131016-chiyoda", None).scope).await;
    assert!(matches!(not_isolated, Err(IsolationRefused::NotIsolated)));
    assert!(relay.state().isolations.list().is_empty());
    assert_eq!(relay.state().generation, 1);
}

#[tokio::test]
async fn a_rule_opens_and_closes_by_itself_at_midnight_in_japan() {
    let site = Site::new();
    site.tenant("131016-chiyoda", 2101, ", valid_from: 2026-12-01, valid_until: 2026-12-31");
    let relay = site.start(datetime!(2026-11-30 23:59:59 +9));
    let state = || entry(&relay, "131016-chiyoda").config.services[0].state;
    let chuo = entry(&relay, "131024-chuo").config;
    assert_eq!(state(), RuleState::OutsideValidity);
    relay.tick(datetime!(2026-11-30 23:59:59.9 +9));
    assert_eq!((state(), relay.state().generation), (RuleState::OutsideValidity, 1));
    relay.tick(datetime!(2026-12-01 00:00 +9));
    assert_eq!((state(), relay.state().generation), (RuleState::Open, 2));
    relay.tick(datetime!(2026-12-31 23:59:59 +9));
    assert_eq!(state(), RuleState::Open);
    relay.tick(datetime!(2027-01-01 00:00 +9));
    assert_eq!(state(), RuleState::OutsideValidity);
    assert!(Arc::ptr_eq(&chuo, &entry(&relay, "131024-chuo").config), "nobody else is touched");
}

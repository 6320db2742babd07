//! What a reload does to SAs: a tunnel that goes on keeps them, one that does not loses them at once, and key exchange is told.

use dataplane::drop_reason::DropReason;
use dataplane::simulation::ipsec_municipality;
use dataplane::time::Duration;

use crate::{both_ways, only, request, told, twins};

#[test]
fn a_tunnel_that_goes_on_keeps_its_sas_whatever_else_changes() {
    let mut world = twins(1_140);
    both_ways(&mut world, "a", 40_000);
    told(&mut world);
    world.reload(|plan| plan.tenant("a").services.truncate(1));
    both_ways(&mut world, "a", 40_001);
    world.reload(|plan| plan.tenant("b").attachments[0].mtu = 1_400);
    both_ways(&mut world, "a", 40_002);
    both_ways(&mut world, "b", 40_002);
    world.reload(|plan| plan.tenants.push(ipsec_municipality("c", 2_103)));
    world.settle();
    world.exchange_keys("c");
    world.run(Duration::from_millis(300));
    world.cloud("c").received();
    both_ways(&mut world, "c", 40_003);
    both_ways(&mut world, "a", 40_003);
    assert!(told(&mut world).keys().all(|event| !event.starts_with("SasLost")));
}

#[test]
fn a_tunnel_made_anew_loses_its_sas_and_another_tenants_stay() {
    let mut world = twins(1_141);
    both_ways(&mut world, "a", 40_000);
    world.exchange_keys("a");
    world.settle();
    told(&mut world);
    world.reload(|plan| plan.tenant("a").tunnels[0].mtu = 1_400);
    world.settle();
    assert_eq!(told(&mut world), only([("SasLost a 2", 1)]));
    let before = world.counts();
    world.office("a").send(&request("a", 40_000));
    world.settle();
    assert_eq!(world.counts().since(&before).get(&format!("access.drops.{}", DropReason::EspSpiUnknown.label())), 1);
    both_ways(&mut world, "b", 40_000);
    world.exchange_keys("a");
    both_ways(&mut world, "a", 40_000);
}

#[test]
fn the_spis_of_a_removed_tenant_lead_to_nobody_from_the_first_packet_on() {
    let mut world = twins(1_142);
    both_ways(&mut world, "a", 40_000);
    told(&mut world);
    let sealed = world.office("a").seal(&request("a", 40_000)).expect("an SA");
    let outer = world.office("a").outer;
    world.reload(|plan| plan.tenants.retain(|tenant| &*tenant.name != "a"));
    world.office("a").send_datagram(outer, sealed.clone());
    world.settle();
    assert_eq!(told(&mut world), only([("SasLost a 1", 1), ("Retired", 1)]));
    assert_eq!(world.counts().get("access.drops.esp_spi_unknown"), 1);
    // A successor in its place gets nothing of it.
    world.reload(|plan| plan.tenants.insert(0, ipsec_municipality("c", 2_101)));
    world.settle();
    world.exchange_keys("c");
    world.office("a").send_datagram(outer, sealed);
    world.settle();
    assert_eq!(world.counts().get("access.drops.esp_spi_unknown"), 2);
    both_ways(&mut world, "b", 40_000);
}

#[test]
fn an_endpoint_that_goes_takes_all_its_sas_and_its_ports_are_nobodys() {
    let mut world = twins(1_143);
    both_ways(&mut world, "a", 40_000);
    told(&mut world);
    world.reload(|plan| {
        plan.ipsec = false;
        plan.tenants.clear();
    });
    world.settle();
    assert_eq!(told(&mut world), only([("SasLost a 1", 1), ("SasLost b 1", 1), ("Retired", 2)]));
    world.office("a").send(&request("a", 40_000));
    world.settle();
    assert_eq!(world.counts().get("access.drops.no_listener"), 1);
}

//! VLANs: stacked tags, and one tenant in two clouds.

use dataplane::router_config::{AttachmentId, SourceConfig, SourceTranslation, TrafficClass, Vlan, VlanId};
use dataplane::simulation::municipality::{GCP, attachment, service};
use dataplane::simulation::packets::udp;
use dataplane::simulation::{Counts, World, at, municipality, network};

use crate::one;
use TrafficClass::MyNumber;

#[test]
fn a_stacked_vlan_is_another_network_than_each_of_its_tags_alone() {
    let id = |id| VlanId::new(id).expect("usable");
    let stacked = |name, outer, inner| {
        let mut tenant = municipality(name, 1);
        tenant.attachments[0].vlan = Vlan::Double { outer: id(outer), inner: id(inner) };
        tenant
    };
    let tenants = [stacked("a", 100, 2_101), stacked("b", 100, 2_102), stacked("c", 101, 2_101), municipality("d", 2_101)];
    let mut world = World::new(20, tenants);
    for (tenant, header) in [("a", 22), ("b", 22), ("c", 22), ("d", 18)] {
        let payload = world.office(tenant).payload(MyNumber, 64);
        let packet = udp(at("198.51.100.17:40000"), at("203.0.113.10:443"), &payload);
        let counts = Counts::new().from_office(tenant, &packet).to_cloud_over(tenant, &packet, "aws", header).opened(tenant);
        world.expect(&counts, |world| world.office(tenant).send(&packet));
        let seen = one(world.cloud(tenant).received());
        assert_eq!(seen.payload, payload);
        let answer = udp(seen.destination, seen.source, &payload);
        let counts = Counts::new().frame("aws", answer.len() + header).to_office(tenant, &answer);
        world.expect(&counts, |world| world.cloud(tenant).send(&answer));
        assert_eq!(one(world.office(tenant).received()).payload, payload);
    }
}

#[test]
fn a_tenant_in_two_clouds_reaches_each_service_where_it_is() {
    let mut tenant = municipality("a", 2_101);
    tenant.attachments.push(attachment(GCP, 2_101));
    tenant.services = vec![
        service("residents", MyNumber, "203.0.113.10/32", "10.10.0.10/32"),
        service("tax", MyNumber, "203.0.113.11/32", "10.10.0.10/32"),
    ];
    tenant.services[1].attachment = AttachmentId(1);
    let translation = SourceTranslation::Napt(vec![network("10.254.1.8/30")]);
    tenant.sources.push(SourceConfig { class: MyNumber, attachment: AttachmentId(1), translation });
    let mut world = World::new(21, [tenant]);
    for (attachment, port, global) in [(0, "aws", "203.0.113.10:443"), (1, "gcp", "203.0.113.11:443")] {
        let payload = world.office("a").payload(MyNumber, 64);
        let packet = udp(at("198.51.100.17:40000"), at(global), &payload);
        let counts = Counts::new().from_office("a", &packet).to_cloud_over("a", &packet, port, 18).opened("a");
        world.expect(&counts, |world| world.office("a").send(&packet));
        let seen = one(world.cloud_at("a", attachment).received());
        assert_eq!(seen.destination, at("10.10.0.10:443"));
        let answer = udp(seen.destination, seen.source, &payload);
        let counts = Counts::new().frame(port, answer.len() + 18).to_office("a", &answer);
        world.expect(&counts, |world| world.cloud_at("a", attachment).send(&answer));
        assert_eq!(one(world.office("a").received()).source, at(global));
    }
}

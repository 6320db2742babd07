//! Worst input first; then each rule with the place and the words of its problem; then valid files
//! and the examples.

mod address_rules;
mod certificate_files;
mod examples;
mod fixture;
mod hostile;
mod ipsec_files;
mod ipsec_rules;
mod ipv6_rules;
mod key_files;
mod language;
mod redundancy;
mod relay_rules;
mod reloading;
mod service_rules;
mod ten_mistakes;
mod tenant_rules;

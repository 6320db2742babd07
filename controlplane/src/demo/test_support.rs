//! Namespace tests for root and for everybody else.

use std::process::Command;

use super::links::Links;
use super::namespaces::Namespace;
use super::privilege::run_as_namespace_root;

/// Runs `body` when this process is root (of the machine or of a user namespace), else the test `name` once more in a
/// child that is root of a user namespace.
pub(crate) fn as_root(name: &str, body: impl FnOnce()) {
    // SAFETY: the call takes nothing and cannot fail.
    if unsafe { libc::geteuid() } == 0 {
        return body();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = run_as_namespace_root(command.args(["--exact", name])).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "no test is called {name}: {text}");
}

/// Two namespaces with a cable between them: `<name>0` with 10.0.0.1/24 and `<name>1` with 10.0.0.2/24.
pub(crate) fn cable(name: &str, mtu: u32) -> [Namespace; 2] {
    let namespaces = [0, 1].map(|end| Namespace::create(&format!("{name}{end}")).unwrap());
    let links = namespaces.each_ref().map(|namespace| Links::of(namespace).unwrap());
    links[0].veth_pair(&format!("{name}0"), &links[1], &format!("{name}1"), mtu).unwrap();
    for (end, links) in links.iter().enumerate() {
        let interface = format!("{name}{end}");
        links.ipv6_off(&interface).unwrap();
        links.add_address(&interface, format!("10.0.0.{}/24", end + 1).parse().unwrap()).unwrap();
        links.up(&interface).unwrap();
    }
    for (end, links) in links.iter().enumerate() {
        links.wait_running(&format!("{name}{end}")).unwrap();
    }
    namespaces
}

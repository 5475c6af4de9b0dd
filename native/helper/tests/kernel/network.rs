//! Routes, VPNs and firewalls of the machine.

use crate::{
    cases::{Case, Verdict, skip},
    client::{connect_as_other, connect_as_user, is_redirected},
    environment::{Environment, RunAs, SESSION, VIA},
    helper::Helper,
    process::{is_installed, run},
};

const FAR4: &str = "10.77.0.9:6443";
const FAR6: &str = "[fd77::9]:6443";
const FAR_MAPPED: &str = "[::ffff:10.77.0.9]:6443";
const NO_ROUTE: &str = "error ENETUNREACH";

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("machine: no route to the target", no_route),
        Case::new("machine: unreachable route", unreachable_route),
        Case::new("machine: default route of a VPN", vpn),
        Case::maybe("machine: firewall that accepts only loopback traffic", firewall),
    ]
}

fn far_helper(environment: &Environment) -> Helper {
    let mut helper = Helper::ready(environment, &RunAs::user().within(SESSION));
    helper.apply(&[(FAR4, VIA), (FAR6, VIA)]).expect("a listener");
    helper
}

fn assert_all_far_are_redirected(environment: &Environment) {
    for to in [FAR4, FAR6, FAR_MAPPED] {
        let result = connect_as_user(environment, to);
        assert!(is_redirected(&result), "{to}: {result}");
    }
}

fn no_route(environment: &Environment) {
    let helper = far_helper(environment);
    assert_all_far_are_redirected(environment);
    for to in [FAR4, FAR6] {
        assert_eq!(connect_as_other(environment, to), NO_ROUTE, "{to}");
    }
    helper.stop();
    assert_eq!(connect_as_user(environment, FAR4), NO_ROUTE);
}

/// Routes, devices or tables, removed after the test.
struct Cleanup(&'static [&'static str]);

impl Drop for Cleanup {
    fn drop(&mut self) {
        for words in self.0 {
            run(words);
        }
    }
}

fn unreachable_route(environment: &Environment) {
    run("ip route add unreachable 10.77.0.9");
    let _cleanup = Cleanup(&["ip route del unreachable 10.77.0.9"]);
    let helper = far_helper(environment);
    assert_eq!(connect_as_other(environment, FAR4), "error EHOSTUNREACH");
    assert_all_far_are_redirected(environment);
    helper.stop();
}

fn vpn(environment: &Environment) {
    run("ip link add vpn type veth peer name vpnend");
    let _cleanup = Cleanup(&["ip link del vpn"]);
    for words in ["addr add 10.8.0.2/24 dev vpn", "link set vpn up", "link set vpnend up"] {
        run(&format!("ip {words}"));
    }
    run("ip route add default dev vpn");
    run("ip -6 route add default dev vpn");
    let helper = far_helper(environment);
    assert_all_far_are_redirected(environment);
    helper.stop();
}

fn firewall(environment: &Environment) -> Verdict {
    if !is_installed("nft") {
        return skip("nft is not installed");
    }
    run("nft add table inet firewall");
    let _cleanup = Cleanup(&["nft delete table inet firewall"]);
    for rule in [
        "chain inet firewall out { type filter hook output priority 0 ; policy drop ; }",
        "chain inet firewall in { type filter hook input priority 0 ; policy drop ; }",
        "rule inet firewall out oifname lo accept",
        "rule inet firewall in iifname lo ip saddr 127.0.0.0/8 accept",
        "rule inet firewall in iifname lo ip6 saddr ::1 accept",
    ] {
        run(&format!("nft add {rule}"));
    }
    let helper = far_helper(environment);
    assert_all_far_are_redirected(environment);
    helper.stop();
    Ok(())
}

//! Published ports, and the way out of a bridge.

use std::process::{Child, Command, Stdio};

use libtest_mimic::Failed;

use crate::Case;
use crate::life::until;
use crate::net::world::{
    self, HOST, HOST6, OUTSIDE, OUTSIDE6, World, call, has_interface, has_table, send, try_call,
};
use crate::nsctl::{Outcome, must, nsctl, own};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("ports_are_reached_from_everywhere", || world::with(reached)),
    ("outside_is_reached_by_the_hosts_address", || world::with(outside)),
    ("what_is_not_published_is_not_reached", || world::with(closed)),
    ("a_port_has_one_holder", || world::with(held)),
    ("a_free_port_is_found_and_shown", || world::with(free)),
    ("the_last_user_takes_all_with_it", || world::with(last)),
    ("what_was_killed_is_cleared_up", || world::with(killed)),
    ("a_container_is_no_router_of_the_hosts", || world::with(router)),
    ("an_internal_network_is_closed", || world::with(internal)),
    ("two_directories_of_nsctl_do_not_meet", || world::with(apart)),
    ("a_wide_network_has_all_its_addresses", || world::with(wide)),
    ("an_uplink_may_be_narrow", || world::with(narrow)),
];

/// A detached server on the default bridge, removed when it is dropped.
struct Server(&'static str);

impl Server {
    fn start(name: &'static str, options: &[&str]) -> Result<Self, Failed> {
        let probe = own();
        let words = ["run", "-d", "--name", name, "--network", "bridge"];
        let outcome = nsctl(&[&words[..], options, &[&probe, "probe", "serve", "80"]].concat());
        let server = Self(name);
        must(outcome.code == 0, "a server", &outcome)?;
        until("the server is ready", || nsctl(&["logs", name]).out.contains("ready"))?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        nsctl(&["rm", "-f", self.0]);
    }
}

/// A server that is no container, where the thread is.
struct Plain(Child);

impl Plain {
    fn start(port: &str) -> Self {
        let mut child = Command::new(own()).args(["probe", "serve", port]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        Self(child)
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What servers say to a container on the bridge; `how`: it is to `call` them, or to `try`.
fn from_inside(how: &str, pairs: &[&str]) -> Outcome {
    let probe = own();
    nsctl(&[&["run", "--network", "bridge", &probe, "probe", how], pairs].concat())
}

fn same(found: Result<String, String>, expected: &str, what: &str) -> Result<(), Failed> {
    match found {
        Ok(text) if text == expected => Ok(()),
        other => Err(format!("{what}: {other:?}, not {expected}").into()),
    }
}

fn reached(world: &World) -> Result<(), Failed> {
    let options = ["-p", "8080:80", "-p", "8080:80/udp", "-p", "127.0.0.1:8081:80", "-p", "[2001:db8::1]:8082:80"];
    let _server = Server::start("web", &options)?;
    // The container's own address is 10.91.0.2; from the loopback, the bridge's is taken.
    same(call("127.0.0.1", 8080), "10.91.0.1", "the host by its loopback")?;
    same(send("127.0.0.1", 8080), "10.91.0.1", "the host by its loopback, UDP")?;
    same(call("127.0.0.1", 8081), "10.91.0.1", "a port of the loopback alone")?;
    same(call(HOST, 8080), HOST, "the host by its address")?;
    same(send(HOST, 8080), HOST, "the host by its address, UDP")?;
    same(call(HOST6, 8080), HOST6, "the host by its address of IPv6")?;
    same(call(HOST6, 8082), HOST6, "a port of one address of IPv6 alone")?;
    must_fail(try_call(HOST, 8081), "a port of the loopback by another address")?;
    world.outside(|| {
        same(call(HOST, 8080), OUTSIDE, "outside")?;
        same(send(HOST, 8080), OUTSIDE, "outside, UDP")?;
        same(call(HOST6, 8080), OUTSIDE6, "outside by IPv6")?;
        same(send(HOST6, 8080), OUTSIDE6, "outside by IPv6, UDP")?;
        must_fail(try_call(HOST, 8081), "a port of the loopback from outside")
    })?;
    let inside = from_inside("call", &[HOST, "8080", "10.91.0.1", "8080", HOST6, "8080"]);
    must(inside.out.lines().filter(|line| !line.starts_with("no")).count() == 3, "from another container", &inside)?;
    let probe = own();
    let itself = nsctl(&["exec", "web", &probe, "probe", "call", HOST, "8080"]);
    must(itself.out == "10.91.0.1\n", "from itself", &itself)
}

fn must_fail(found: Result<String, String>, what: &str) -> Result<(), Failed> {
    found.map_or(Ok(()), |text| Err(format!("{what} is reached: {text}").into()))
}

fn outside(world: &World) -> Result<(), Failed> {
    let _server = world.outside(|| Plain::start("99"));
    let inside = from_inside("call", &[OUTSIDE, "99", OUTSIDE6, "99"]);
    must(inside.out == format!("{HOST}\n{HOST6}\n"), "the host's addresses", &inside)?;
    must(inside.err.contains("IPv4 forwarding is switched on (up0)"), "what is switched on is said", &inside)
}

fn closed(world: &World) -> Result<(), Failed> {
    let _server = Server::start("web", &["-p", "8080:80"])?;
    world.outside(|| {
        world::route(Some(("10.91.0.0".parse().unwrap(), 22)), HOST.parse().unwrap());
        must_fail(try_call("10.91.0.2", 80), "a container from outside by its own address")
    })?;
    // CVE-2020-8558: with route_localnet, what listens on the host's loopback alone would be open to the bridge.
    let _secret = Plain::start("7777");
    same(call("127.0.0.1", 7777), "127.0.0.1", "the host's own server")?;
    let probe = own();
    let script = format!(
        "ip route del local 127.0.0.0/8 table local; ip route del local 127.0.0.1 table local; \
         echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet; ip route add 127.0.0.0/8 via 10.91.0.1 && \
         {probe} probe try 127.0.0.1 7777"
    );
    let inside = nsctl(&["run", "--network", "bridge", "--cap-add", "NET_ADMIN", "sh", "-c", &script]);
    must(inside.out.starts_with("no"), "the host's loopback is closed", &inside)
}

fn held(_: &World) -> Result<(), Failed> {
    let _server = Server::start("web", &["-p", "8080:80"])?;
    let again = nsctl(&["run", "--network", "bridge", "-p", "8080:81", "true"]);
    must(
        again.code == 125 && again.err.contains("port 8080/tcp is taken: container web has it"),
        "a conflict",
        &again,
    )?;
    let other = nsctl(&["run", "--network", "bridge", "-p", "8080:81/udp", "true"]);
    must(other.code == 0, "UDP has ports of its own", &other)?;
    let plain = Plain::start("7777");
    let taken = nsctl(&["run", "--network", "bridge", "-p", "7777:80", "true"]);
    let who = format!("(process {}) has it", plain.0.id());
    let right = taken.code == 125 && taken.err.contains("port 7777/tcp is taken") && taken.err.contains(&who);
    must(right, "a process", &taken)?;
    // The first free one of several.
    let range = nsctl(&["run", "-d", "--name", "many", "--network", "bridge", "-p", "8080-8082:80", "sleep", "100"]);
    let shown = nsctl(&["port", "many"]);
    nsctl(&["rm", "-f", "many"]);
    must(
        shown.out.contains("80/tcp -> 0.0.0.0:8081"),
        "one of several",
        if range.code == 0 { &shown } else { &range },
    )?;
    same(call("127.0.0.1", 8080), "10.91.0.1", "and the first has it still")
}

fn free(_: &World) -> Result<(), Failed> {
    let _server = Server::start("web", &["-p", "80"])?;
    let shown = nsctl(&["port", "web", "80"]);
    let number: Option<u16> = shown.out.lines().find_map(|line| line.strip_prefix("0.0.0.0:")?.parse().ok());
    must(number.is_some(), "a port", &shown)?;
    same(call("127.0.0.1", number.unwrap()), "10.91.0.1", "the port that was found")?;
    let listed = nsctl(&["ps", "--format", "name,ports"]);
    must(listed.out.contains(&format!("web\t0.0.0.0:{}->80/tcp", number.unwrap())), "in ps", &listed)?;
    let missing = nsctl(&["port", "web", "81"]);
    must(missing.code == 1 && missing.err.contains("81/tcp"), "a port that is not published", &missing)
}

fn switch(name: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/net/{name}")).unwrap_or_default().trim().to_string()
}

fn last(_: &World) -> Result<(), Failed> {
    let before =
        (switch("ipv4/conf/up0/forwarding"), switch("ipv6/conf/all/forwarding"), switch("ipv6/conf/up0/accept_ra"));
    let first = Server::start("one", &["-p", "8080:80"])?;
    let second = Server::start("two", &["-p", "8081:80"])?;
    drop(first);
    if !has_table() || !has_interface("nsctl0") || switch("ipv4/conf/up0/forwarding") != "1" {
        return Err("what the second one needs is gone with the first".into());
    }
    same(call("127.0.0.1", 8081), "10.91.0.1", "the second")?;
    must_fail(try_call("127.0.0.1", 8080), "the first")?;
    drop(second);
    let after =
        (switch("ipv4/conf/up0/forwarding"), switch("ipv6/conf/all/forwarding"), switch("ipv6/conf/up0/accept_ra"));
    if has_table() || has_interface("nsctl0") || before != after {
        return Err(format!(
            "left: table {}, bridge {}, {before:?} → {after:?}",
            has_table(),
            has_interface("nsctl0")
        )
        .into());
    }
    Ok(())
}

fn killed(_: &World) -> Result<(), Failed> {
    let server = Server::start("web", &["-p", "8080:80"])?;
    let inspect = nsctl(&["ps", "--format", "pid"]);
    let pid: i32 = inspect.out.trim().parse().map_err(|_| "a pid")?;
    world::kill(&[pid])?;
    // Nobody has cleared up: the next start does, and has the port.
    let next = Server::start("next", &["-p", "8080:80"])?;
    same(call("127.0.0.1", 8080), "10.91.0.1", "the next one")?;
    drop(server);
    same(call("127.0.0.1", 8080), "10.91.0.1", "the next one still")?;
    drop(next);
    if has_table() || has_interface("nsctl0") { Err("rules are left".into()) } else { Ok(()) }
}

/// CVE-2020-13401: by an advertisement of a container's, the host would send all its IPv6 there.
fn router(_: &World) -> Result<(), Failed> {
    for options in [&["--ipv6=false"][..], &["--internal"], &[]] {
        nsctl(&[&["network", "create", "lan"], options].concat());
        let started = nsctl(&["run", "-d", "--name", "one", "--network", "lan", "sleep", "100"]);
        let heard = switch("ipv6/conf/nsctl1/accept_ra");
        nsctl(&["rm", "-f", "one"]);
        nsctl(&["network", "rm", "lan"]);
        must(started.code == 0 && matches!(heard.as_str(), "0" | ""), &format!("{options:?}: {heard}"), &started)?;
    }
    Ok(())
}

/// How many segments of TCP have come to a container.
fn segments(container: &str) -> Result<String, Failed> {
    let shown = nsctl(&["exec", container, "cat", "/proc/net/snmp"]);
    let line = shown.out.lines().filter(|line| line.starts_with("Tcp:")).nth(1).unwrap_or_default();
    line.split(' ').nth(10).map(String::from).ok_or_else(|| "no count of segments".into())
}

fn internal(world: &World) -> Result<(), Failed> {
    nsctl(&["network", "create", "--internal", "--subnet", "10.7.0.0/24", "--subnet", "fd07::/64", "in"]);
    let started = nsctl(&["run", "-d", "--name", "in", "--network", "in", "sleep", "100"]);
    must(started.code == 0, "a container", &started)?;
    let _server = Server::start("web", &[])?;
    from_inside("try", &["10.7.0.2", "80", "fd07::2", "80"]);
    world.outside(|| {
        for (to, prefix, over) in [("10.7.0.0", 24, HOST), ("fd07::", 64, HOST6)] {
            world::route(Some((to.parse().unwrap(), prefix)), over.parse().unwrap());
        }
        let _ = (try_call("10.7.0.2", 80), try_call("fd07::2", 80));
    });
    let came = segments("in")?;
    nsctl(&["rm", "-f", "in"]);
    nsctl(&["network", "rm", "in"]);
    if came != "0" { Err(format!("{came} segments came in").into()) } else { Ok(()) }
}

fn apart(_: &World) -> Result<(), Failed> {
    let other = std::env::temp_dir().join(format!("nsctl-apart-{}", std::process::id()));
    std::fs::create_dir_all(&other).unwrap();
    let there = |words: &[&str]| nsctl(&[&["--root", other.to_str().unwrap()], words].concat());
    let first = Server::start("one", &["-p", "8080:80"])?;
    let probe = own();
    let words =
        ["run", "-d", "--name", "two", "--network", "bridge", "-p", "8081:80", &probe, "probe", "serve", "80"];
    let second = there(&words);
    let found = second.code == 0 && until("it is ready", || there(&["logs", "two"]).out.contains("ready")).is_ok();
    let works = (call("127.0.0.1", 8080), call("127.0.0.1", 8081));
    drop(first);
    let alone = (call("127.0.0.1", 8081), has_interface("nsctl0"), has_table());
    let begun = Server::start("one", &["-p", "8080:80"]);
    there(&["rm", "-f", "two"]);
    let back = (call("127.0.0.1", 8080), has_table());
    drop(begun);
    std::fs::remove_dir_all(&other).unwrap();
    must(found, "a container of the other directory", &second)?;
    let right = |called: &Result<String, String>| called.is_ok();
    if !(right(&works.0) && right(&works.1) && right(&alone.0) && !alone.1 && alone.2 && right(&back.0) && back.1) {
        return Err(format!("both {works:?}, the second {alone:?}, the first {back:?}").into());
    }
    if has_table() || has_interface("nsctl1") { Err("rules are left".into()) } else { Ok(()) }
}

/// More than a bridge has ports; those that nobody asks for are the first ones.
fn wide(_: &World) -> Result<(), Failed> {
    nsctl(&["network", "create", "--subnet", "10.8.0.0/16", "wide"]);
    let on = |options: &[&str], words: &[&str]| nsctl(&[&["run", "--network", "wide"], options, words].concat());
    let started = on(&["-d", "--name", "far", "--ip", "10.8.200.40"], &["sleep", "100"]);
    let shown = nsctl(&["network", "inspect", "wide"]);
    let taken = on(&["--ip", "10.8.200.40"], &["true"]);
    let near = on(&[], &["ip", "-4", "addr", "show", "dev", "eth0"]);
    nsctl(&["rm", "-f", "far"]);
    nsctl(&["network", "rm", "wide"]);
    must(started.code == 0 && shown.out.contains("10.8.200.40"), "an address far up", &shown)?;
    must(taken.err.contains("--ip 10.8.200.40 is taken"), "it is taken", &taken)?;
    must(near.out.contains("10.8.0.2/16"), "the first one that is free", &near)
}

/// Narrower than IPv6 allows.
fn narrow(_: &World) -> Result<(), Failed> {
    world::narrow(1000);
    let started = nsctl(&["run", "--network", "bridge", "ip", "link", "show", "dev", "eth0"]);
    must(started.code == 0 && started.out.contains("mtu 1280"), "a bridge", &started)
}

//! What the kernel refuses: the sentence names the act and its object, the kernel's word and, where it has one, its sentence, and the
//! way out; and nothing is left of what was begun.

use libtest_mimic::Failed;

use crate::Case;
use crate::kinds::{host, in_namespace, says};
use crate::nsctl::{Outcome, must};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("what_the_kernel_refuses_is_a_sentence", sentences),
    ("without_the_capability_it_is_said", without),
    ("an_interface_of_somebody_elses_stays", stranger),
    ("after_a_refusal_the_next_one_begins_at_home", home),
];

/// What is done to the host, what is asked for, and what is said.
const TABLE: &[(&str, &str, &[&str])] = &[
    (
        "ip -6 addr add 2001:db8::2/64 dev up0; ip -6 route add default via 2001:db8::1",
        "--network macvlan:up0 --ip6 2001:db8::1",
        &[
            "make the default route over 2001:db8::1: ",
            "EINVAL",
            "the kernel says: Gateway can not be a local address",
            "own subnet",
        ],
    ),
    (
        "ip link set up0 address 02:00:00:00:00:77",
        "--network macvlan:up0 --mac-address 02:00:00:00:00:77",
        &["switch the interface eth0 on: ", "EADDRINUSE", "--mac-address"],
    ),
    (
        "ip link add br9 type bridge",
        "--network phys:br9",
        &["move the interface br9 into the container: ", "EINVAL", "stays where it is"],
    ),
    ("true", "--network macvlan:up0 --ip6 ff02::5/64", &["--ip6 ff02::5/64 is no address of a host"]),
    ("true", "--network macvlan:gone", &["there is no interface gone", "ip link"]),
    (
        "true",
        "--network bridge -p 203.0.113.9:80:80",
        &["--publish 203.0.113.9:80/tcp: ", "EADDRNOTAVAIL", "ip addr"],
    ),
    ("true", "--network nowhere", &["there is no network nowhere", "nsctl network create nowhere"]),
];

fn sentences() -> Result<(), Failed> {
    for (before, words, parts) in TABLE {
        let got = host(&format!(
            "{before}; run {words} -- true; echo code $?; ip link show nsctl0 >/dev/null 2>&1 && echo left"
        ));
        must(got.out == "code 125\n", "refused, and nothing is left", &got)?;
        says(&Outcome { out: String::new(), ..got }, parts)?;
    }
    Ok(())
}

fn without() -> Result<(), Failed> {
    const NET_ADMIN: libc::c_ulong = 12;
    for (kind, doing) in [("bridge", "make the bridge nsctl0"), ("none", "switch the interface lo on")] {
        let got = in_namespace(&format!("$N run --network {kind} -- true"), Some(NET_ADMIN));
        must(got.code == 125, "refused", &got)?;
        says(&got, &[doing, "EPERM", "CAP_NET_ADMIN", "run it as root"])?;
    }
    Ok(())
}

/// Be it that it has the name of a network's bridge.
fn stranger() -> Result<(), Failed> {
    let got = host(
        "run --network bridge -- true; ip link add nsctl0 type bridge; run --network bridge -- true; echo code $?; \
         $N network rm bridge; run --network bridge -- true && echo next; ip link show nsctl0 >/dev/null && echo there; \
         ip link show nsctl1 >/dev/null 2>&1 || echo gone; $N network rm bridge",
    );
    says(&got, &["code 125", "next", "there", "gone"])?;
    must(got.err.contains("there is an interface nsctl0, and it is not the network bridge's"), "whose it is", &got)
}

/// A start that fails in the middle of its network, and another one by the same command.
fn home() -> Result<(), Failed> {
    let got = host(
        "run -d --name bad --network macvlan:up0 --mac-address 02:00:00:00:00:77 -- true; $N wait bad >/dev/null; \
         run -d --name good --network host -- ip link show dev up0; $N wait good >/dev/null; \
         ip link set up0 address 02:00:00:00:00:77; $N start bad good; $N wait good; $N logs good | grep -c up0; $N rm -f bad good",
    );
    says(&got, &["start container bad: switch the interface eth0 on"])
        .or_else(|_| must(got.err.contains("start container bad"), "the first one fails", &got))?;
    must(got.out.contains("\n2\n"), "the second one sees the host's interface again", &got)
}

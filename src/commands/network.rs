//! `nsctl network`: the networks that containers share.

use std::net::IpAddr;

use miniserde::{Serialize, json};

use super::container::REFUSED;
use super::manage::agreed;
use super::print;
use super::table::{self, Column, Kind, column};
use crate::cli;
use crate::error::{self, Error, Result};
use crate::linux::clock;
use crate::linux::net::Socket;
use crate::network::{self, DEFAULT, Network, Networks, Range, Wish};
use crate::spec;
use crate::state::{self, State};

/// What `ls --format json` shows, and `inspect` with the containers.
#[derive(Serialize)]
struct Row {
    name: String,
    interface: String,
    subnet: String,
    gateway: String,
    /// Empty: it has no IPv6.
    subnet6: String,
    gateway6: String,
    /// 0: as the interface that leads to the world.
    mtu: u32,
    internal: bool,
    created: String,
    labels: Vec<String>,
    containers: Vec<Container>,
}

#[derive(Serialize)]
struct Container {
    id: String,
    name: String,
    ip: String,
    ip6: String,
}

const COLUMNS: &[Column] = &[
    column("NAME", Kind::Left),
    column("INTERFACE", Kind::Left),
    column("SUBNET", Kind::Left),
    column("SUBNET6", Kind::Left),
    column("CONTAINERS", Kind::Right),
    column("INTERNAL", Kind::Hidden),
    column("LABELS", Kind::Hidden),
];

pub(crate) fn network(typed: cli::Networks) -> Result<u8> {
    match typed {
        cli::Networks::Create(typed) => create(*typed),
        cli::Networks::Ls(listing) => {
            let form = table::form("network ls", &listing, COLUMNS)?;
            let networks = existing();
            let rows: Vec<Row> = networks
                .iter()
                .flat_map(|networks| networks.all().into_iter().map(|one| row(networks, one)))
                .collect();
            print(&match form.is_json() {
                true => json::to_string(&rows) + "\n",
                false => form.text(COLUMNS, rows.into_iter().map(cells).collect()),
            })?;
            Ok(0)
        }
        cli::Networks::Rm { force, names } => rm(force, &names),
        cli::Networks::Inspect(names) => inspect(&names),
        cli::Networks::Prune { force } => prune(force),
    }
}

fn create(typed: cli::Create) -> Result<u8> {
    let route = Socket::route().map_err(|errno| Error::os("open a netlink socket", errno))?;
    let wish = wish(typed)?;
    let (_, state) = state::place().ok_or_else(|| {
        Error::new("there is no place to write a network down").hint("--root DIR names one; otherwise it is in /run")
    })?;
    let networks = Networks::open(state.fd())?;
    networks.lock()?;
    let made = networks.define(wish, &route).map_err(|error| error.code(REFUSED))?;
    print(&format!("{}\n", made.name))?;
    Ok(0)
}

fn wish(typed: cli::Create) -> Result<Wish> {
    let mut wish = Wish {
        name: spec::container_name("the network", typed.name)?,
        ipv6: typed.ipv6,
        internal: typed.internal,
        mtu: match typed.mtu {
            None => 0,
            Some(mtu) => mtu.parse().map_err(|_| Error::new(format!("--mtu {mtu} is not a number of bytes")))?,
        },
        labels: typed.label,
        ..Wish::default()
    };
    for typed in typed.subnet {
        let range = Range::parse(&typed).ok_or_else(|| subnet(&typed))?;
        let slot = if range.base.is_ipv4() { &mut wish.subnet } else { &mut wish.subnet6 };
        if slot.replace(range).is_some() {
            return Err(Error::new("a network has one subnet of IPv4 and one of IPv6"));
        }
    }
    for typed in typed.gateway {
        let twice = match typed.parse() {
            Ok(IpAddr::V4(address)) => wish.gateway.replace(address).is_some(),
            Ok(IpAddr::V6(address)) => wish.gateway6.replace(address).is_some(),
            Err(_) => return Err(Error::new(format!("--gateway {typed} is no address"))),
        };
        if twice {
            return Err(Error::new("a network has one gateway of IPv4 and one of IPv6"));
        }
    }
    Ok(wish)
}

/// Why it is none.
fn subnet(typed: &str) -> Error {
    let error = Error::new(format!("--subnet {typed} is none"));
    let whole = typed.split_once('/').and_then(|(address, prefix)| {
        let (address, prefix) = (address.parse::<IpAddr>().ok()?, prefix.parse().ok()?);
        (prefix <= if address.is_ipv4() { 32 } else { 128 }).then(|| Range::around(address, prefix))
    });
    error.hint(match whole {
        Some(range) => format!("its address has bits beyond the prefix: {range}"),
        None => "such as 10.1.0.0/24, or fd12:3456:789a::/64".into(),
    })
}

/// Those that there are; None: nobody ever made or used one.
fn existing() -> Option<Networks> {
    state::places()
        .iter()
        .filter_map(|place| State::open(place).ok())
        .find_map(|state| Networks::existing(state.fd()))
}

fn none(name: &str) -> Error {
    Error::new(format!("there is no network {name}")).hint("nsctl network ls lists them").code(REFUSED)
}

/// Does something with each of them; what fails is said, and the others come to their turn.
fn each(names: &[String], mut act: impl FnMut(&Networks, Network) -> Result<()>) -> u8 {
    let networks = existing();
    let mut code = 0;
    for name in names {
        // The name of a directory, and never a path.
        let found = networks.as_ref().filter(|_| spec::container_name("", name.clone()).is_ok());
        let found = found.and_then(|networks| Some((networks, networks.get(name)?)));
        if let Err(error) = found.ok_or_else(|| none(name)).and_then(|(networks, network)| act(networks, network)) {
            error::report(&error);
            code = REFUSED;
        }
    }
    code
}

fn rm(force: bool, names: &[String]) -> Result<u8> {
    let there = existing();
    let known =
        |name: &&String| there.as_ref().is_some_and(|networks| networks.all().iter().any(|one| one.name == **name));
    let names: Vec<String> = names.iter().filter(|name| !force || known(name)).cloned().collect();
    Ok(each(&names, |networks, network| {
        networks.lock()?;
        let removed = networks.forget(&network);
        networks.unlock();
        if removed? {
            return print(&format!("{}\n", network.name));
        }
        let users: Vec<String> = networks.members(&network).iter().map(|member| shown(member).to_string()).collect();
        Err(Error::new(format!("the network {} is in use", network.name))
            .hint(format!("by {}", users.join(", ")))
            .code(REFUSED))
    }))
}

fn inspect(names: &[String]) -> Result<u8> {
    let mut rows = Vec::new();
    let code = each(names, |networks, network| {
        rows.push(row(networks, network));
        Ok(())
    });
    print(&(json::to_string(&rows) + "\n"))?;
    Ok(code)
}

/// Removes what nobody uses. The default network's definition stays: nobody made it.
fn prune(force: bool) -> Result<u8> {
    if !force && !agreed("All networks that no running container is on will be removed.")? {
        return Ok(0);
    }
    for place in state::places() {
        let Ok(state) = State::open(&place) else { continue };
        // What containers left that were killed is theirs to be cleared away first.
        let _ = state.all();
        network::sweep(state.fd(), true);
        let Some(networks) = Networks::existing(state.fd()) else { continue };
        networks.lock()?;
        for network in networks.all().into_iter().filter(|network| network.name != DEFAULT) {
            if networks.forget(&network)? {
                print(&format!("{}\n", network.name))?;
            }
        }
        networks.unlock();
    }
    Ok(0)
}

fn row(networks: &Networks, network: Network) -> Row {
    let there = |text: String| if text == "-" { String::new() } else { text };
    let containers = networks.members(&network).into_iter().map(|member| Container {
        name: there(member.name),
        ip6: there(member.ip6),
        ip: member.ip,
        id: member.id,
    });
    let containers = containers.collect();
    let Network { name, interface, subnet, gateway, subnet6, gateway6, mtu, internal, created, labels } = network;
    let created = clock::rfc3339(created);
    Row { name, interface, subnet, gateway, subnet6, gateway6, mtu, internal, created, labels, containers }
}

fn cells(row: Row) -> Vec<String> {
    let internal = if row.internal { "yes" } else { "no" };
    let (containers, labels) = (row.containers.len().to_string(), row.labels.join(","));
    vec![row.name, row.interface, row.subnet, row.subnet6, containers, internal.into(), labels]
}

fn shown(member: &network::Member) -> &str {
    if member.name == "-" { &member.id } else { &member.name }
}

//! Machines of a cluster: network namespaces on a bridge, so that a partition is one, in which packets vanish and nobody
//! is told. Root and `ip` (of the package iproute2) are needed.

use anyhow::{Context, Result, ensure};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Each machine's interface, inside.
const INSIDE: &str = "eth0";

/// A bridge, and machines on it. This machine is on it, too.
#[derive(Debug)]
pub(super) struct Network {
    bridge: String,
    /// The third byte of all addresses, which are of the network for benchmarks (198.18.0.0/15).
    part: u8,
    machines: Vec<Machine>,
}

#[derive(Debug)]
struct Machine {
    namespace: String,
    /// Its interface, on the bridge's side.
    cable: String,
}

impl Network {
    /// Lays the cables of so many machines.
    pub(super) fn lay(machines: u8) -> Result<Self> {
        ensure!(rustix::process::geteuid().is_root(), "network namespaces need root: run this as root");
        remove_leftovers()?;
        let (id, part) = (std::process::id(), rand::random());
        let bridge = format!("bh{id:x}");
        let mut network = Self { bridge: bridge.clone(), part, machines: Vec::new() };
        ip(&["link", "add", &bridge, "type", "bridge"])?;
        ip(&["address", "add", &format!("198.18.{part}.254/24"), "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        for number in 0..machines {
            let machine =
                Machine { namespace: format!("{PREFIX}{id}-{number}"), cable: format!("{bridge}p{number}") };
            let Machine { namespace, cable } = &machine;
            ip(&["netns", "add", namespace])?;
            ip(&["link", "add", cable, "type", "veth", "peer", "name", INSIDE, "netns", namespace])?;
            ip(&["link", "set", cable, "master", &bridge, "up"])?;
            ip(&["-n", namespace, "link", "set", "lo", "up"])?;
            let address = format!("{}/24", network.address(number));
            ip(&["-n", namespace, "address", "add", &address, "dev", INSIDE])?;
            ip(&["-n", namespace, "link", "set", INSIDE, "up"])?;
            network.machines.push(machine);
        }
        Ok(network)
    }

    /// A machine's address.
    pub(super) fn address(&self, machine: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.part, machine + 1)
    }

    /// Where a machine's namespace can be entered.
    pub(super) fn namespace(&self, machine: usize) -> PathBuf {
        Path::new("/run/netns").join(&self.machines[machine].namespace)
    }

    /// Pulls a machine's cable: neither the others nor clients reach it, and it reaches nobody.
    pub(super) fn unplug(&self, machine: usize) -> Result<()> {
        ip(&["link", "set", &self.machines[machine].cable, "down"])
    }

    /// Plugs it in again.
    pub(super) fn plug_in(&self, machine: usize) -> Result<()> {
        ip(&["link", "set", &self.machines[machine].cable, "up"])
    }

    /// A machine and the others do not hear each other any more; clients still reach all of them.
    pub(super) fn part(&self, machine: usize) -> Result<()> {
        self.between(machine, "add")
    }

    /// They hear each other again.
    pub(super) fn join(&self, machine: usize) -> Result<()> {
        self.between(machine, "del")
    }

    fn between(&self, machine: usize, verb: &str) -> Result<()> {
        let parted = u8::try_from(machine)?;
        let others = (0..u8::try_from(self.machines.len())?).filter(|other| *other != parted);
        for other in others {
            let namespace = &self.machines[usize::from(parted)].namespace;
            ip(&["-n", namespace, "route", verb, "blackhole", &format!("{}/32", self.address(other))])?;
        }
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for machine in &self.machines {
            // With it goes its end of the cable, and with that the other one.
            if let Err(error) = ip(&["netns", "delete", &machine.namespace]) {
                tracing::warn!(%error, "a network namespace is left");
            }
        }
        if let Err(error) = ip(&["link", "delete", &self.bridge]) {
            tracing::warn!(%error, "a bridge is left");
        }
    }
}

/// Names of namespaces go on with the number of the process that they are of.
const PREFIX: &str = "backhaul-";

/// What processes have left that were killed.
fn remove_leftovers() -> Result<()> {
    let Ok(namespaces) = std::fs::read_dir("/run/netns") else { return Ok(()) };
    for name in namespaces.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let Some(owner) =
            name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok())
        else {
            continue;
        };
        if !Path::new(&format!("/proc/{owner}")).exists() {
            ip(&["netns", "delete", &name])?;
            if Path::new(&format!("/sys/class/net/bh{owner:x}")).exists() {
                ip(&["link", "delete", &format!("bh{owner:x}")])?;
            }
        }
    }
    Ok(())
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output();
    let output = output.context("cannot run ip: install the package iproute2")?;
    super::succeeded(&format!("ip {}", arguments.join(" ")), &output).map(drop)
}

//! What a run costs: CPU of each part, WAL, memory. From the operating system and from Postgres, not from the programs.

use crate::machine::bytes;
use anyhow::{Context, Result};
use sqlx::PgConnection;
use std::fs;
use std::time::Duration;

/// The processes of the servers.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    /// PostgreSQL's first process.
    pub postgres: u32,
    /// RabbitMQ's process.
    pub broker: u32,
    /// nginx's process.
    pub upstream: u32,
}

/// What was used up to a moment, or between two.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU of the processes that do the work, in seconds.
    pub worker: f64,
    /// CPU of PostgreSQL, in seconds.
    pub postgres: f64,
    /// CPU of RabbitMQ, in seconds.
    pub broker: f64,
    /// CPU of the upstream, in seconds.
    pub upstream: f64,
    /// Bytes of WAL.
    pub wal: f64,
}

impl Meter {
    /// What has been used up to now.
    ///
    /// # Errors
    /// When a process is gone, or Postgres does not answer.
    pub async fn read(&self, workers: &[u32], session: &mut PgConnection) -> Result<Usage> {
        let wal = "select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8";
        let wal = sqlx::query_scalar(wal).fetch_one(session).await?;
        let mut usage = Usage { wal, ..Usage::default() };
        for worker in workers {
            usage.worker += family(*worker)?;
        }
        usage.postgres = family(self.postgres)?;
        usage.broker = family(self.broker)?;
        usage.upstream = family(self.upstream)?;
        Ok(usage)
    }
}

impl Usage {
    /// What was used since then.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            worker: self.worker - before.worker,
            postgres: self.postgres - before.postgres,
            broker: self.broker - before.broker,
            upstream: self.upstream - before.upstream,
            wal: self.wal - before.wal,
        }
    }
}

/// The CPU time in seconds of a process, of its children, and of those that have ended.
fn family(pid: u32) -> Result<f64> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let living = children.split_whitespace().filter_map(|child| child.parse().ok());
    // One that ends in between is missing once, by at most the little that it used.
    let living: f64 = living.filter_map(|child: u32| cpu(child, 2).ok()).sum();
    Ok(cpu(pid, 4)? + living)
}

/// The first so many of: user, system, user of ended children, system of ended children.
fn cpu(pid: u32, fields: usize) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} ended before it was measured"))?;
    // The name, in parentheses, may hold anything.
    let rest = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks: f64 = rest
        .split_whitespace()
        .skip(11)
        .take(fields)
        .filter_map(|field| field.parse::<u32>().ok())
        .map(f64::from)
        .sum();
    let per_second = u32::try_from(rustix::param::clock_ticks_per_second())?;
    Ok(ticks / f64::from(per_second))
}

/// The most memory that a process ever had resident, in bytes.
#[must_use]
pub fn peak_memory(pid: u32) -> Option<u64> {
    memory(pid, "VmHWM")
}

/// The memory that a process has resident, in bytes.
#[must_use]
pub fn resident_memory(pid: u32) -> Option<u64> {
    memory(pid, "VmRSS")
}

fn memory(pid: u32, field: &str) -> Option<u64> {
    bytes(&format!("/proc/{pid}/status"), field)
}

/// The middle of these figures; of an even number the mean of the two in the middle. 0 of none.
#[must_use]
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let half = figures.len() / 2;
    match (figures.get(half), figures.len() % 2) {
        (Some(middle), 1) => *middle,
        (Some(upper), _) => f64::midpoint(*upper, figures[half - 1]),
        (None, _) => 0.0,
    }
}

/// The longest time that 95 of 100 do not exceed.
#[must_use]
pub fn p95(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let at = (times.len() * 95).div_ceil(100).saturating_sub(1);
    times.get(at).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn middles() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(Vec::new()), 0.0);
        assert_eq!(p95((1..=100).map(Duration::from_millis).collect()), Duration::from_millis(95));
        assert_eq!(p95(vec![Duration::from_millis(7)]), Duration::from_millis(7));
    }

    #[test]
    fn this_process_uses_cpu_and_memory() {
        let pid = std::process::id();
        let before = family(pid).unwrap();
        let started = std::time::Instant::now();
        while family(pid).unwrap() < before + 0.03 {
            assert!(started.elapsed() < Duration::from_secs(60), "busy, and no CPU time is seen");
        }
        assert!(peak_memory(pid).unwrap() >= resident_memory(pid).unwrap() / 2);
        assert!(cpu(u32::MAX, 2).is_err());
    }
}

//! The scoreboard: what happened, and whether every promise was kept.

use super::Plan;
use super::world::World;
use anyhow::Result;
use benchmarks::{Outcome, Series};
use comfy_table::{CellAlignment, Table, presets};
use lapin::options::{BasicAckOptions, BasicGetOptions};
use serde_json::{Value, json};
use sqlx::PgConnection;
use stage::{compare, milliseconds, thousands};
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// What came of it.
#[derive(Clone, Debug)]
pub struct Scoreboard {
    about: Vec<(String, String)>,
    facts: Vec<(String, String)>,
    faults: Vec<Fault>,
    /// What must be 0.
    zeros: Vec<(&'static str, u64)>,
    problems: Vec<String>,
}

#[derive(Clone, Debug)]
struct Fault {
    words: &'static str,
    times: u64,
    unseen: u64,
    recoveries: Series,
}

impl Scoreboard {
    /// Reads what there is when every job has ended, or should have.
    pub(super) async fn draw(
        world: &World<'_>,
        plan: Plan,
        about: Vec<(String, String)>,
        lasted: Duration,
        ended: Duration,
    ) -> Result<Self> {
        let mut session = world.stage.session().await?;
        let mut board = Self::about(world, plan, about);
        board.fact(
            "lasted",
            format!(
                "{:.0} s of faults; every job had ended {:.1} s after the last one",
                lasted.as_secs_f64(),
                ended.as_secs_f64()
            ),
        );
        board.work_done(world, &mut session).await?;
        for (what, sql) in ZEROS {
            let found: i64 = sqlx::query_scalar(sql).fetch_one(&mut session).await?;
            board.zeros.push((what, u64::try_from(found)?));
        }
        board.promises(world, &mut session).await?;
        board.records(world, &mut session).await?;
        board.dead_letters(world).await?;
        board.problems.extend(world.stage.store.broken_invariants().await?);
        Ok(board)
    }

    fn about(world: &World<'_>, plan: Plan, mut about: Vec<(String, String)>) -> Self {
        let counts = world.tally.counts();
        let faults = counts.faults.iter().map(|(words, times)| Fault {
            words,
            times: *times,
            unseen: counts.unseen.get(words).copied().unwrap_or_default(),
            recoveries: Series::new(*words, None, counts.recoveries.get(words).cloned().unwrap_or_default()),
        });
        let settings = format!(
            "seed {}, {} consumers, {} producers, {} connections; times scaled down (leases 3 s, heartbeat 2 s)",
            plan.seed, plan.consumers, plan.producers, plan.connections
        );
        about.push(("settings".to_owned(), settings));
        let commands: Vec<_> =
            counts.commands.iter().map(|(what, times)| format!("{times} {what}")).collect();
        let facts = vec![
            ("commands".to_owned(), commands.join(", ")),
            ("bad answers".to_owned(), format!("{} of the upstream", thousands_of(counts.misbehaved))),
        ];
        Self { about, facts, faults: faults.collect(), zeros: Vec::new(), problems: Vec::new() }
    }

    async fn work_done(&mut self, world: &World<'_>, session: &mut PgConnection) -> Result<()> {
        let sql = "select status::text, count(*) from jobs group by status order by status";
        let jobs: Vec<(String, i64)> = sqlx::query_as(sql).fetch_all(&mut *session).await?;
        let said: Vec<_> =
            jobs.iter().map(|(status, count)| format!("{} {status}", thousands(*count))).collect();
        let sql = "select count(*) from jobs where resumed_from is not null";
        let resumed: i64 = sqlx::query_scalar(sql).fetch_one(&mut *session).await?;
        self.fact("jobs", format!("{}; {} of them resumed another", said.join(", "), thousands(resumed)));
        let sql =
            "select coalesce(error->>'cause', '?'), count(*) from jobs where status = 'failed' group by 1";
        for (cause, count) in sqlx::query_as::<_, (String, i64)>(sql).fetch_all(&mut *session).await? {
            self.fact("failed", format!("{count}: {cause}"));
        }
        let settled: i64 =
            sqlx::query_scalar("select count(*) from page_log").fetch_one(&mut *session).await?;
        let again = world.stage.logged("took a page over from a lost holder")?;
        let pages = format!(
            "{} settled with {} requests; {again} were taken over from a lost holder, and so fetched twice (allowed)",
            thousands(settled),
            thousands_of(world.upstream.seen().requests)
        );
        self.fact("pages", pages);
        // A cancel that came before its start waits for it, however late that comes.
        let sql = "select count(*), count(*) filter (where cancel_requested_at < created_at),
                          coalesce(max(finished_at - cancel_requested_at)
                                   filter (where cancel_requested_at >= created_at), '0')::text
                     from jobs where status = 'cancelled'";
        let (count, early, longest): (i64, i64, String) = sqlx::query_as(sql).fetch_one(session).await?;
        self.fact(
            "cancels",
            format!(
                "{count}, of which {early} came before their start; the longest of the others took {longest}"
            ),
        );
        Ok(())
    }

    /// Commands that were confirmed or accepted, and what became of them.
    async fn promises(&mut self, world: &World<'_>, session: &mut PgConnection) -> Result<()> {
        let (accepted, cancelled, confirmed) = {
            let promises = world.ledger.promises();
            let uuids =
                |jobs: &BTreeSet<protocol::ids::JobId>| jobs.iter().map(|job| job.0).collect::<Vec<_>>();
            let confirmed: Vec<_> = promises.confirmed.iter().cloned().collect();
            (uuids(&promises.accepted), uuids(&promises.cancelled), confirmed)
        };
        let sql = "select count(*) from unnest($1::uuid[]) as a(id) where not exists (select from jobs j where j.id = a.id)";
        self.count(
            "accepted jobs lost",
            sqlx::query_scalar(sql).bind(accepted).fetch_one(&mut *session).await?,
        )?;
        let sql = "select count(*) from unnest($1::uuid[]) as a(id)
                    where not exists (select from jobs j where j.id = a.id and j.status = 'cancelled')";
        self.count(
            "accepted cancels without effect",
            sqlx::query_scalar(sql).bind(cancelled).fetch_one(&mut *session).await?,
        )?;
        let sql = "select count(*) from unnest($1::text[]) as a(id) where not exists (select from commands c where c.given = a.id)";
        self.count(
            "confirmed commands lost",
            sqlx::query_scalar(sql).bind(confirmed).fetch_one(session).await?,
        )
    }

    async fn records(&mut self, world: &World<'_>, session: &mut PgConnection) -> Result<()> {
        let sql = "select exists (select from jobs where connection_id = $1 and status = 'completed')";
        let (mut lost, mut wrong, mut exact) = (0, 0, 0);
        for account in &world.accounts {
            let complete: bool =
                sqlx::query_scalar(sql).bind(account.connection.0).fetch_one(&mut *session).await?;
            let found = compare(&world.stage.store, account.connection, &account.expected).await?;
            wrong += found.different + found.foreign;
            lost += if complete { found.missing } else { 0 };
            exact += u64::from(complete && found.is_exact());
            if !(found.is_part() && (found.is_exact() || !complete)) {
                self.problems.push(format!("{}: {found}", account.name));
            }
        }
        self.fact(
            "exact",
            format!(
                "{exact} of {} connections, by (id, hash), after their last completed job",
                world.accounts.len()
            ),
        );
        self.zeros.push(("records lost", u64::try_from(lost)?));
        self.zeros.push(("records that are wrong", u64::try_from(wrong)?));
        Ok(())
    }

    /// Takes every dead letter: each must be poison that was put in, and all of that must be there.
    async fn dead_letters(&mut self, world: &World<'_>) -> Result<()> {
        let found = world.stage.with_broker(async |stage, channel| {
            let (queue, mut found) = (stage.amqp().topology().dead_letters(), Vec::new());
            while let Some(letter) =
                channel.basic_get(queue.clone().into(), BasicGetOptions::default()).await?
            {
                letter.delivery.ack(BasicAckOptions::default()).await?;
                found.push(String::from_utf8_lossy(&letter.delivery.data).into_owned());
            }
            Ok(found)
        });
        let found = found.await?;
        let promises = world.ledger.promises();
        let foreign = found.iter().filter(|body| !promises.tried_poison.contains(*body));
        for body in foreign.clone().take(5) {
            self.problems.push(format!(
                "a dead letter that nobody poisoned: {}",
                body.chars().take(200).collect::<String>()
            ));
        }
        self.zeros.push(("dead letters beside the poison", u64::try_from(foreign.count())?));
        let missing = promises.poison.iter().filter(|body| !found.contains(body)).count();
        self.zeros.push(("poison that is not among them", u64::try_from(missing)?));
        drop(promises);
        self.fact("dead letters", format!("{}, all of them poison", found.len()));
        Ok(())
    }

    /// After a last round in peace: all connections must be exact.
    pub(super) async fn finish(&mut self, world: &World<'_>) -> Result<()> {
        let mut exact = 0;
        for account in &world.accounts {
            let found = compare(&world.stage.store, account.connection, &account.expected).await?;
            if found.is_exact() {
                exact += 1;
            } else {
                self.problems.push(format!("{} at the end: {found}", account.name));
            }
        }
        self.fact("at the end", format!("{exact} of {} connections are exact", world.accounts.len()));
        self.problems.extend(world.stage.store.broken_invariants().await?);
        self.problems.append(&mut world.tally.counts().problems);
        Ok(())
    }

    pub(super) fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    fn fact(&mut self, what: &str, said: String) {
        self.facts.push((what.to_owned(), said));
    }

    fn count(&mut self, what: &'static str, found: i64) -> Result<()> {
        self.zeros.push((what, u64::try_from(found)?));
        Ok(())
    }
}

/// What the database alone can tell. (`broken_invariants` says the same of some in other words.)
const ZEROS: [(&str, &str); 5] = [
    ("jobs stuck", "select count(*) from jobs where status in ('pending', 'running', 'cancelling')"),
    (
        "pages written after a cancel",
        "select coalesce(sum(greatest(pages - pages_at_fence, 0)), 0)::bigint from (
             select pages_at_fence, (select count(*) from page_log p where p.job_id = j.id) as pages
               from jobs j where pages_at_fence is not null) cancelled",
    ),
    ("leases leaked", "select count(*) from slices where lease_token is not null"),
    (
        "records counted twice",
        "select count(*) from (
             select j.connection_id, k.key from page_log p join jobs j on j.id = p.job_id
              cross join lateral unnest(p.keys, string_to_array(p.outcomes, null)) as k(key, outcome)
              where k.outcome = '+' group by 1, 2 having count(*) > 1) twice",
    ),
    (
        "records inserted without being counted",
        "select abs((select count(*) from records) - (select coalesce(sum(inserted), 0) from slices)
                  + (select coalesce(sum(inserted), 0) from carried))::bigint",
    ),
];

impl Outcome for Scoreboard {
    fn json(&self) -> Value {
        let faults = self.faults.iter().map(|fault| {
            let mut json = fault.recoveries.json();
            json["times"] = json!(fault.times);
            json["unseen"] = json!(fault.unseen);
            json
        });
        let pairs = |pairs: &[(String, String)]| json!(pairs);
        json!({
            "about": pairs(&self.about), "facts": pairs(&self.facts), "faults": faults.collect::<Vec<_>>(),
            "zeros": self.zeros, "problems": self.problems, "good": self.is_good(),
        })
    }

    fn is_good(&self) -> bool {
        self.problems.is_empty() && self.zeros.iter().all(|(_, found)| *found == 0)
    }
}

impl fmt::Display for Scoreboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.about.iter().chain(&self.facts) {
            writeln!(f, " {name:<13} {value}")?;
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["FAULT", "TIMES", "RECOVERED P50", "P99", "LONGEST", "NOT SEEN"]);
        for fault in &self.faults {
            let at = |percent| fault.recoveries.percentile(percent).map(milliseconds).unwrap_or_default();
            let (times, unseen) = (fault.times.to_string(), fault.unseen.to_string());
            table.add_row([fault.words.to_owned(), times, at(50), at(99), at(100), unseen]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "\n{}\n", table.trim_fmt())?;
        for (what, found) in &self.zeros {
            writeln!(f, " {} {found} {what}", if *found == 0 { "✓" } else { "✗" })?;
        }
        for problem in &self.problems {
            writeln!(f, " ✗ {problem}")?;
        }
        write!(
            f,
            " {}",
            if self.is_good() { "Every promise was kept." } else { "NOT every promise was kept: see ✗." }
        )
    }
}

fn thousands_of(number: u64) -> String {
    thousands(i64::try_from(number).unwrap_or(i64::MAX))
}

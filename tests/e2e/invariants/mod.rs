//! The check of the invariants finds each kind of corruption, and the schema refuses what it can refuse by itself. Every
//! other test's teardown rests on this.

mod corruptions;
mod world;

use anyhow::{Context, Result};
use corruptions::CORRUPTIONS;
use std::collections::BTreeSet;
use world::World;

#[tokio::test]
async fn each_kind_of_corruption_is_found() -> Result<()> {
    let world = World::sound().await?;
    assert_eq!(world.broken().await?, (BTreeSet::new(), String::new()), "a sound database");
    for (corrupt, undo, numbers, words) in CORRUPTIONS {
        world.run(corrupt).await?;
        let (broken, said) = world.broken().await?;
        assert_eq!(broken, numbers.iter().copied().collect(), "{corrupt}\n{said}");
        assert!(said.contains(words), "{corrupt}\n{said}");
        world.run(undo).await?;
        assert_eq!(world.broken().await?.1, "", "undone: {undo}");
    }
    let found: BTreeSet<u8> = CORRUPTIONS.iter().flat_map(|(_, _, numbers, _)| *numbers).copied().collect();
    assert_eq!(found, BTreeSet::from([2, 3, 4, 5, 7]));
    world.end().await
}

/// What needs no check, since it cannot be written.
#[tokio::test]
async fn the_schema_refuses_what_it_can() -> Result<()> {
    let world = World::sound().await?;
    for refused in [
        "insert into jobs (id, tenant_id, connection_id, date_to)
         select gen_random_uuid(), tenant_id, connection_id, now() from jobs where id = $running",
        "update jobs set finished_at = null where id = $completed",
        "update jobs set finished_at = now() where id = $running",
        "update jobs set started_at = null where id = $running",
        "update jobs set cancel_requested_at = null where id = $cancelling",
        "update jobs set pages_at_fence = null where id = $cancelled",
        "update jobs set error = null where id = $failed",
        "update jobs set date_from = date_to where id = $pending",
        "update jobs set paused = true where id = $completed",
        "update jobs set paused = true where id = $cancelling",
        "update jobs set resumed_from = id where id = $running",
        "update jobs set resumed_from = $broken where id = $running",
        "update jobs set documents = 0 where id = $documents",
        "update jobs set documents = 2001 where id = $documents",
        "update jobs set date_from = date_to - interval '1 day' where id = $documents",
        "update jobs set mode = 'incremental' where id = $documents",
        "update jobs set mode = 'full' where id = $documents",
        "update slices set pages_skipped = 1 where job_id = $documents",
        "update documents set id = 'd-a' where job_id = $documents",
        "update documents set id = '' where job_id = $documents and place = 0",
        "update slices set ids_to = ids_from where job_id = $documents",
        "update slices set ids_to = null where job_id = $documents",
        "update commands set request = '\\x00'; insert into commands (id, kind, answer, request)
         select 'x', 'start', '{}', '\\x00'",
        "insert into schemas (id, tenant_id, name, fields) select gen_random_uuid(), tenant_id, 'x', '[]'
           from jobs where id = $running",
        "insert into job_events (job_id, kind) values ($running, 'stopped')",
        "update carried set pages = -1",
        "update slices set inserted = -1 where job_id = $completed",
        "update slices set worker = null where job_id = $running",
        "update slices set lease_token = job_id, leased_ring = 1, worker = job_id, leased_until = now()
          where job_id = $completed",
        "update slices set status = 'waiting' where job_id = $running",
        "update slices set rung_at = null where job_id = $running",
        "update page_log set outcomes = '++' where job_id = $completed",
        "update page_log set outcomes = 'f' where job_id = $completed",
        "update page_log set page = 0 where job_id = $completed",
        "update page_log set skipped = '{\"cause\": \"x\"}' where job_id = $completed",
        "update page_log set keys = '{}', outcomes = '', skipped = '{}' where job_id = $completed",
        "update slices set pages_skipped = 9 where job_id = $completed",
        "update slices set deleted = 1 where job_id = $completed",
        "update slices set kind = 'deletion', whole = null, total = 0 where job_id = $full and slice = 0",
        "update slices set total = 1 where job_id = $full and kind = 'deletion'",
        "update slices set whole = null where job_id = $completed",
        "update slices set whole = true where job_id = $running",
        "update slices set walk = '[]' where job_id = $completed",
        "update streams set known_to = now(), scope = null
          where connection_id = (select connection_id from jobs where id = $completed)",
        "update streams set known_to = now(), scope = 1, known_from = 'infinity'
          where connection_id = (select connection_id from jobs where id = $completed)",
        "insert into warnings values ($completed, 0, 'failed', 0, '')",
        "update jobs set deletion_left_out = 'why' where id = $running",
        "update checks set unseen = records + 1",
    ] {
        let error = world.run(refused).await.err().with_context(|| format!("not refused: {refused}"))?;
        let code = error.downcast_ref::<sqlx::Error>().and_then(|error| error.as_database_error()?.code());
        let code = code.with_context(|| format!("{refused}: {error:#}"))?;
        assert!(["23505", "23514"].contains(&&*code), "{refused}: {code} {error:#}");
    }
    assert_eq!(world.broken().await?.1, "");
    world.end().await
}

//! Pages that are claimed in one statement: each of them as if it were alone.

use super::*;

/// What a claim of three pages leaves behind, and what it says of each.
async fn traces(together: bool) -> Result<(String, String)> {
    let world = World::with_slices(3).await?;
    let worker = WorkerId::random();
    let requests: Vec<_> = world.rings().await?.into_iter().map(|ring| request(ring, worker)).collect();
    let claims = if together {
        let claims = world.store.slices().claim_together(&requests).await?;
        claims.into_iter().collect::<Option<Vec<_>>>().context("all of them")?
    } else {
        let mut claims = Vec::new();
        for request in &requests {
            claims.push(world.store.slices().claim(request).await?);
        }
        claims
    };
    let mut said = String::new();
    for (claim, request) in claims.into_iter().zip(&requests) {
        let (lease, context) = claimed(claim)?;
        assert_eq!((lease.slice(), lease.page(), lease.token()), (request.ring.slice, 0, request.token));
        let PageContext { cursor, anchor, taken_over, span, source, base_url, .. } = &context;
        said += &format!("{cursor:?} {anchor:?} {taken_over} {span:?} {source} {base_url} ");
        said += &format!(
            "{:?} {} {} {}\n",
            context.settings,
            context.kind == protocol::slice::SliceKind::Deletion,
            context.limited,
            context.narrow
        );
        // The lease holds.
        assert!(matches!(world.settle(lease, &page(&[], Some("2"), true)).await?, Settled::Kept(..)));
    }
    let sql = "select string_agg((slice, status, page, ring, leased_ring, lease_token is not null, worker is not null,
                                  leased_until > now(), charges, not_before)::text, E'\\n' order by slice) from slices";
    let left = sqlx::query_scalar(sql).fetch_one(&world.database.pool).await?;
    world.end().await?;
    Ok((said, left))
}

#[tokio::test]
async fn nothing_tells_whether_pages_were_claimed_together() -> Result<()> {
    assert_eq!(traces(true).await?, traces(false).await?);
    Ok(())
}

#[tokio::test]
async fn only_what_is_plainly_free_is_claimed_together() -> Result<()> {
    let world = World::with_slices(5).await?;
    let worker = WorkerId::random();
    let mut rings = world.rings().await?;
    rings.sort_by_key(|ring| ring.slice);
    let [free, held, charged, stale, locked] = rings[..] else { bail!("five slices") };
    claimed(world.claim(held, false, WorkerId::random()).await?)?;
    let killed = "update slices set charges = array[gen_random_uuid()] where slice = 2";
    world.database.execute(killed).await?;
    let mut other = world.database.pool.begin().await?;
    sqlx::query("select from slices where slice = 4 for update").execute(&mut *other).await?;

    let stale = Ring { page: 1, ..stale };
    let requests = [free, held, charged, stale, locked].map(|ring| request(ring, worker));
    let claims = world.store.slices().claim_together(&requests).await?;
    let plainly: Vec<_> = claims.iter().map(Option::is_some).collect();
    assert_eq!(plainly, [true, false, false, false, false]);
    other.rollback().await?;

    // Alone, each is told why; what was only charged or locked is claimed.
    let mut told = Vec::new();
    for request in &requests {
        told.push(world.store.slices().claim(request).await?);
    }
    assert!(
        matches!(
            told[..],
            // The first finds its own lease.
            [Claim::Claimed(_), Claim::Stale, Claim::Claimed(_), Claim::Stale, Claim::Claimed(_)]
        ),
        "{told:?}"
    );
    world.end().await
}

#[tokio::test]
async fn two_messages_for_one_page_are_one_claim() -> Result<()> {
    let world = World::with_slices(1).await?;
    let worker = WorkerId::random();
    let ring = world.rings().await?[0];
    let requests = [request(ring, worker), request(ring, worker)];
    let claims = world.store.slices().claim_together(&requests).await?;
    assert_eq!(claims.iter().flatten().count(), 1, "{claims:?}");
    world.end().await
}

#[tokio::test]
async fn nothing_is_claimed_together_while_a_connection_pauses_or_a_job_ends() -> Result<()> {
    let world = World::with_slices(2).await?;
    let worker = WorkerId::random();
    let requests: Vec<_> = world.rings().await?.into_iter().map(|ring| request(ring, worker)).collect();
    world.database.execute("update connections set paused_until = now() + interval '1 h'").await?;
    let claims = world.store.slices().claim_together(&requests).await?;
    assert!(claims.iter().all(Option::is_none), "{claims:?}");
    world.database.execute("update connections set paused_until = null").await?;
    world.cancel().await?;
    let claims = world.store.slices().claim_together(&requests).await?;
    assert!(claims.iter().all(Option::is_none), "{claims:?}");
    world.end().await
}

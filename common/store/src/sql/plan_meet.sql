-- Those of several jobs that are pending and plain: over a span, with no slices yet, with nothing to be asked for by id, and
-- held by nobody else for a moment. With what earlier jobs have shown of their connections.
-- $1 jobs, $2 how many.
select j.id as "job: JobId", j.tenant_id as "tenant: TenantId", j.connection_id as "connection: ConnectionId",
       j.mode as "mode: JobMode", j.date_from, j.date_to, c.source, c.base_url, c.settings, c.account,
       k.fingerprint as "known_in?", s.known_from as "known_from?", s.known_to as "known_to?",
       e.fingerprint as "empty_in?", s.empty_to as "empty_to?"
  from unnest($1::uuid[]) with ordinality a (job, nth)
 cross join lateral (
      select j.* from jobs j
       where j.id = a.job and j.documents is null and j.resumed_from is null
          -- As text, so that no partial index fits: a plan made while the table was small could look through all of one.
          and j.status::text = 'pending' limit 1
         for no key update skip locked) j
  join connections c on c.id = j.connection_id
  left join streams s on s.connection_id = j.connection_id and s.stream = j.stream
  left join scopes k on k.connection_id = s.connection_id and k.stream = s.stream and k.scope = s.scope
  left join scopes e on e.connection_id = s.connection_id and e.stream = s.stream and e.scope = s.empty_scope
 where not (j.mode = 'incremental'
            and exists (select from stragglers t
                         where t.connection_id = j.connection_id and t.stream = j.stream and t.closed_at is null))
 order by j.connection_id
 limit $2

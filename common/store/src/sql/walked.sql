-- A job whose slices are all done, and what is left to be done; nothing while one is not done. $1 job.
select j.mode as "mode: JobMode", walk_gap(j.id) as gap,
       exists (select from slices where job_id = $1 and kind = 'check') as "checked!",
       exists (select from slices where job_id = $1 and kind = 'confirm') as "confirmed!",
       exists (select from slices where job_id = $1 and kind = 'deletion') as "deleted!",
       -- Walks are judged, unless their counters decide: the upstream named no total and the list is not read by counting,
       -- or everything that was met was new, and as much as the total. What could not be stored is noted by the check, too.
       exists (select from slices s
                where s.job_id = $1 and s.kind = 'walk'
                  and (j.mode = 'full' or s.deferred + s.failed > 0
                       or ((j.counted or s.walk ? 'smallest_total')
                           and not (s.inserted = s.inserted + s.updated + s.unchanged + s.deferred + s.failed
                                    and s.inserted >= coalesce((s.walk ->> 'smallest_total')::bigint, 0)))
                       or exists (select from stragglers t
                                   where t.connection_id = j.connection_id and t.stream = j.stream and t.closed_at is null)))
           as "check_due!",
       exists (select from unseen where job_id = $1 and fate = 'asked') as "confirm_due!",
       w.processed as "processed!", w.failed as "failed!",
       (select text from warnings where job_id = $1 and kind = 'failed' order by slice limit 1) as first_failure
  from jobs j
 cross join lateral (
       select coalesce(sum(inserted + updated + unchanged + deferred + failed), 0)::bigint as processed,
              coalesce(sum(failed), 0)::bigint as failed
         from slices where job_id = $1 and kind = 'walk') w
 where j.id = $1 and not exists (select from slices where job_id = $1 and status <> 'done')

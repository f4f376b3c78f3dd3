-- Calls: the typed view of what Ultravox connections have pulled. The whole object stays in `payload`.

-- Upstreams write what they like, and one odd value must not make the others unreadable: a time that cannot be read is
-- null here, and as it was in the payload.
create or replace function readable_time(text text) returns timestamptz
language plpgsql stable strict as $$
begin
    return text::timestamptz;
exception when data_exception then
    return null;
end
$$;

-- Replaced, not dropped: whoever was granted it keeps it. What `create or replace` refuses (a column that goes, or changes
-- its type or its place) needs `drop view if exists calls` before it, and to be granted again.
create or replace view calls as
select r.connection_id, c.tenant_id, r.external_id as call_id,
       readable_time(r.payload ->> 'created') as created,
       readable_time(r.payload ->> 'joined') as joined,
       readable_time(r.payload ->> 'ended') as ended,
       r.payload ->> 'endReason' as end_reason,
       -- "12s", "1.5s"
       case when r.payload ->> 'billedDuration' ~ '^[0-9]{1,9}(\.[0-9]{1,9})?s$'
            then (r.payload ->> 'billedDuration')::interval end as billed_duration,
       r.payload ->> 'billingStatus' as billing_status,
       r.payload #>> '{agent,agentId}' as agent_id,
       r.payload #>> '{agent,name}' as agent_name,
       r.payload ->> 'shortSummary' as short_summary,
       r.payload ->> 'summary' as summary,
       -- {"twilio": {…}}: the kind is the name of its one field.
       case when jsonb_typeof(r.payload -> 'medium') = 'object'
            then (select min(kind) from jsonb_object_keys(r.payload -> 'medium') as kind) end as medium,
       r.payload ->> 'model' as model,
       r.payload ->> 'voice' as voice,
       r.payload ->> 'languageHint' as language_hint,
       case when jsonb_typeof(r.payload -> 'recordingEnabled') = 'boolean'
            then (r.payload -> 'recordingEnabled')::boolean end as recording_enabled,
       r.payload -> 'metadata' as metadata,
       r.revision, r.created_at as imported_at, r.updated_at, r.job_id, r.payload
  from records r
  join connections c on c.id = r.connection_id
 where c.source = 'ultravox' and r.deleted_at is null;

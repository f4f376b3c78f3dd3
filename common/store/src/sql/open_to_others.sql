-- Grants on the schema and on what is in it, to everybody or to a role that default privileges name. Such a role can only do
-- something with a table if it may use the schema.
with granted as (
    select acl.grantee, null::text as relation
      from pg_namespace n cross join lateral aclexplode(n.nspacl) as acl
     where n.nspname = 'backhaul' and acl.grantee <> n.nspowner
    union
    select acl.grantee, c.relname::text
      from pg_class c cross join lateral aclexplode(c.relacl) as acl
     where c.relnamespace = to_regnamespace('backhaul') and c.relkind in ('r', 'p', 'v') and acl.grantee <> c.relowner),
by_default as (
    select acl.grantee
      from pg_default_acl d cross join lateral aclexplode(d.defaclacl) as acl
     where d.defaclnamespace in (0, to_regnamespace('backhaul')) and d.defaclobjtype in ('r', 'n'))
select case when grantee = 0 then 'everybody (public)' else grantee::regrole::text end
           || case when bool_or(relation is null) then ': the schema, ' else ': ' end
           || count(relation) || ' tables and views' as "open!"
  from granted
 where grantee = 0 or (grantee in (select grantee from by_default) and grantee <> current_user::regrole)
 group by grantee
having grantee = 0 or bool_or(relation is null)
 order by grantee

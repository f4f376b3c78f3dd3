//! Users.

use super::usable_name;
use crate::arguments::{PutUser, User};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::Table;
use crate::show::moment;
use protocol::ids::MAX_SUBJECT_CHARS;
use serde_json::json;

pub(super) async fn run(context: &Context, action: User) -> Result<(), Failure> {
    match action {
        User::Put(put) => create_or_change(context, put).await,
        User::List { tenant } => list(context, tenant.as_deref()).await,
        User::Remove { subject } => disable(context, &subject).await,
    }
}

async fn create_or_change(context: &Context, put: PutUser) -> Result<(), Failure> {
    let subject = usable_name(&put.subject)?;
    if subject.chars().count() > MAX_SUBJECT_CHARS {
        return Err(Failure::Usage(format!(
            "--subject is longer than {MAX_SUBJECT_CHARS} characters, and tokens with such a `sub` are refused"
        )));
    }
    let store = context.store()?;
    let tenant = match &put.tenant {
        Some(given) => Some(context.tenant(&store, given).await?),
        None => None,
    };
    let of = tenant.as_ref().map(|tenant| tenant.id);
    let user = store.tenants().put_user(subject, of, put.role).await?;
    context.output.either(&user, || {
        let agency = tenant.map_or_else(|| "no agency".to_owned(), |tenant| tenant.name);
        format!("user {}  {subject}  is a {} of {agency}", user.id, user.role.word())
    })
}

async fn list(context: &Context, tenant: Option<&str>) -> Result<(), Failure> {
    let store = context.store()?;
    let tenants = store.tenants().list().await?;
    let tenant = match tenant {
        Some(given) => Some(context.tenant(&store, given).await?.id),
        None => None,
    };
    let users = store.tenants().users(tenant).await?;
    context.output.either(&users, || {
        let mut table = Table::new(["SUBJECT", "AGENCY", "ROLE", "CREATED", "DISABLED"]);
        for user in &users {
            let agency = tenants.iter().find(|tenant| Some(tenant.id) == user.tenant_id);
            table.row([
                user.subject.clone(),
                agency.map_or_else(|| "none".to_owned(), |tenant| tenant.name.clone()),
                user.role.word().to_owned(),
                moment(user.created_at),
                user.disabled_at.map(moment).unwrap_or_default(),
            ]);
        }
        table.or("no users; make one with: backhaul admin user put --subject SUB --tenant NAME")
    })
}

async fn disable(context: &Context, subject: &str) -> Result<(), Failure> {
    if context.store()?.tenants().disable_user(subject).await? {
        let told = json!({ "subject": subject, "disabled": true });
        return context.output.either(&told, || format!("user {subject} is disabled"));
    }
    Err(Failure::Refused(format!("there is no user {subject:?}; `backhaul admin user list` shows them")))
}

//! Tenants: made by the operator or by the tenant above, managed by these and by themselves.

pub(crate) mod admin;
pub(crate) mod below;
pub(crate) mod closure;
pub(crate) mod manage;
pub(crate) mod namespaces;
pub(crate) mod own;
pub(crate) mod partners;
pub(crate) mod view;

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_log::Topic;
use laneway_store::{First, Host, NewHost, NewTenant, Tenant};
use laneway_tenancy::control::Limits;
use laneway_tenancy::slug::{self, SlugError};
use laneway_tenancy::{OperatorScope, Placement, TenantId, new_id};
use serde::Deserialize;
use utoipa::ToSchema;

use super::limits::LimitsView;
use super::page::{Page, PageQuery};
use super::quarantine::log_trouble;
use crate::Control;
use crate::api::hosts::{self, HostView};
use crate::api::keys::make::PreparedKey;
use crate::caller::{Operator, takes_authentication};
use crate::error::{ApiError, ApiResult};
use crate::json::{Json, Params, answer_tagged};
use view::{OptionsView, TenantCreated, TenantView};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantNew {
    /// 2 to 40 of a–z, 0–9 and single hyphens, beginning with a letter; unique over all tenants,
    /// also by its looks (`acrne` is taken where `acme` is).
    slug: String,
    /// What people call it: at most 100 characters.
    #[serde(default)]
    name: String,
    /// The operator's name for what it pays for.
    #[serde(default)]
    plan: String,
    /// How many partitions its records may use; fixed from then on.
    lanes: Option<u32>,
    /// Only the operator chooses it: the name of its database, one of `store.shards` or `main`;
    /// fixed from then on. Else the rules there choose, and below another tenant that one's.
    database: Option<String>,
    /// Only the operator chooses it: one of `log.topic_sets`, whose topics are this tenant's alone,
    /// with those below it; fixed from then on. Else it shares the topics of most tenants.
    topics: Option<String>,
    limits: Option<LimitsView>,
    options: Option<OptionsView>,
    /// Makes a first key, an owner's, of that name.
    owner: Option<String>,
    /// Names of its own under which it will be reached, once each is proved.
    #[serde(default)]
    hosts: Vec<String>,
}

impl TenantNew {
    fn plain(slug: String, hosts: Vec<String>) -> Self {
        TenantNew {
            slug,
            name: String::new(),
            plan: String::new(),
            lanes: None,
            database: None,
            topics: None,
            limits: None,
            options: None,
            owner: None,
            hosts,
        }
    }
}

/// A tenant that is about to be created.
struct Founding {
    new: NewTenant,
    owner: Option<PreparedKey>,
    hosts: Vec<NewHost>,
    now: i64,
}

impl Founding {
    fn first(&self) -> First<'_> {
        First {
            owner: self.owner.as_ref().map(PreparedKey::stored),
            hosts: &self.hosts,
            ..First::default()
        }
    }

    /// As the operator: below nobody.
    async fn carry_out(
        &self,
        control: &Control,
        operator: &OperatorScope,
    ) -> ApiResult<(Tenant, Vec<Host>)> {
        topics_answer(control, &self.new).await?;
        let tenants = control.deps.store.tenants(operator);
        let created = tenants.create_with(self.new.clone(), self.first(), self.now);
        Ok(created.await?)
    }
}

/// The answer to a creation, with what only the operator sees where it is the operator's.
fn created(
    tenant: Tenant,
    owner: Option<PreparedKey>,
    hosts: Vec<Host>,
    by_operator: bool,
) -> Response {
    tracing::info!(tenant = %tenant.id, slug = tenant.body.slug, parent = ?tenant.body.parent, "a tenant was created");
    let version = tenant.version;
    let created = TenantCreated {
        tenant: TenantView::seen_by(tenant, by_operator),
        owner: owner.map(PreparedKey::shown),
        hosts: hosts.into_iter().map(HostView::from).collect(),
    };
    answer_tagged(StatusCode::CREATED, &created, version)
}

#[utoipa::path(post, path = "/tenants", tag = "operator", request_body = TenantNew, responses(
    (status = 201, body = TenantCreated), (status = 409, description = "The slug is taken or reserved, the database or the topics another tenant's, or authentication is off"),
    (status = 422, description = "Not valid"), (status = 503, description = "The tenant's database or topics do not answer; nothing was created")))]
pub(crate) async fn create(
    Operator(operator): Operator,
    control: Arc<Control>,
    Json(new): Json<TenantNew>,
) -> ApiResult<Response> {
    let founding = checked(&control, new)?;
    let (tenant, hosts) = founding.carry_out(&control, &operator).await?;
    Ok(created(tenant, founding.owner, hosts, true))
}

/// What is to be created, where it is valid.
fn checked(control: &Control, new: TenantNew) -> ApiResult<Founding> {
    takes_authentication(control)?;
    check_slug(&new.slug)?;
    view::check_name(&new.name)?;
    view::check_name(&new.plan)?;
    let options = new.options.unwrap_or_default().checked()?;
    let deps = &control.deps;
    if let Some(name) = &new.database
        && !deps.store.has_database(name)
    {
        return Err(ApiError::invalid(format!(
            "database: there is none of the name {name}."
        )));
    }
    let set = match &new.topics {
        Some(name) => deps.log.sets().number(name).ok_or_else(|| {
            ApiError::invalid(format!("topics: there are none of the name {name}."))
        })?,
        None => 0,
    };
    let now = deps.clock.now_us();
    let id = TenantId::from_u128(new_id(&*deps.random, now));
    let owner = |name: String| PreparedKey::owner(control, &name, &options, now);
    let owner = new.owner.map(owner).transpose()?;
    let most = control.prover.settings().max_hosts as usize;
    if new.hosts.len() > most {
        return Err(ApiError::invalid(format!("hosts: at most {most}.")));
    }
    let hosts = new.hosts.iter().map(|name| hosts::checked(control, name));
    Ok(Founding {
        owner,
        hosts: hosts.collect::<ApiResult<_>>()?,
        new: NewTenant {
            name: new.name,
            plan: new.plan,
            limits: new.limits.map_or_else(Limits::default, Limits::from),
            options,
            database: new.database,
            topic_set: new.topics,
            ..NewTenant::plain(id, new.slug, placement(control, id, new.lanes)?.in_set(set))
        },
        now,
    })
}

/// The first step of a creation with topics of its own: they are there, and answer. There is
/// nothing to undo of it: which topics there are is configured.
async fn topics_answer(control: &Control, new: &NewTenant) -> ApiResult<()> {
    if new.topic_set.is_none() {
        return Ok(());
    }
    let log = &control.deps.log;
    for topic in Topic::ALL.into_iter().filter(|t| t.co_partitioned()) {
        for lane in &new.placement.lanes {
            let answer = log.bounds(topic, *lane).await;
            answer.map_err(|error| log_trouble(error.into()))?;
        }
    }
    Ok(())
}

fn placement(control: &Control, id: TenantId, lanes: Option<u32>) -> ApiResult<Placement> {
    let deps = &control.deps;
    let partitions = deps.log.sets().size();
    let lanes = lanes.unwrap_or(deps.settings.default_lanes.min(partitions));
    if lanes == 0 || lanes > partitions {
        return Err(ApiError::invalid(format!("lanes: 1 to {partitions}.")));
    }
    Ok(Placement::first(id, lanes, partitions))
}

fn check_slug(text: &str) -> ApiResult<()> {
    slug::check(text).map_err(|error| {
        let detail = format!("slug: {error}.");
        match error {
            SlugError::Reserved => ApiError::conflict(detail),
            _ => ApiError::invalid(detail),
        }
    })
}

#[utoipa::path(get, path = "/tenants", tag = "operator", params(PageQuery),
    responses((status = 200, body = Page<TenantView>)))]
pub(crate) async fn list(
    Operator(operator): Operator,
    control: Arc<Control>,
    Params(page): Params<PageQuery>,
) -> ApiResult<Response> {
    let found = control
        .deps
        .store
        .tenants(&operator)
        .list(page.after()?, page.limit())
        .await?;
    let items = found
        .into_iter()
        .map(|tenant| TenantView::seen_by(tenant, true));
    Ok(Page::answer(items, &page, |t| t.id.to_string()))
}

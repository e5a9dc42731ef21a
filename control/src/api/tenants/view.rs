//! Tenants as the API shows and takes them.

use std::collections::BTreeMap;

use laneway_runtime::http::Cidr;
use laneway_store::{MAIN, Tenant};
use laneway_tenancy::TenantId;
use laneway_tenancy::control::{TenantKind, TenantState};
use laneway_tenancy::options::{Branding, Options};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::hosts::HostView;
use crate::api::keys::KeyCreated;
use crate::api::limits::LimitsView;
use crate::api::page::time;
use crate::error::{ApiError, ApiResult};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StateView {
    Active,
    /// Its devices and keys are refused, its data is kept.
    Suspended,
    /// On its way to closed.
    Closing,
    Closed,
}

impl From<StateView> for TenantState {
    fn from(view: StateView) -> Self {
        match view {
            StateView::Active => TenantState::Active,
            StateView::Suspended => TenantState::Suspended,
            StateView::Closing => TenantState::Closing,
            StateView::Closed => TenantState::Closed,
        }
    }
}

impl From<TenantState> for StateView {
    fn from(state: TenantState) -> Self {
        match state {
            TenantState::Active => StateView::Active,
            // What a later version calls otherwise is not active either.
            TenantState::Suspended | TenantState::Other => StateView::Suspended,
            TenantState::Closing => StateView::Closing,
            TenantState::Closed => StateView::Closed,
        }
    }
}

/// What a tenant sets for itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OptionsView {
    /// Features that are switched on or off by name: at most 100.
    features: BTreeMap<String, bool>,
    branding: BrandingView,
    /// Origins that browsers may call from: `https://app.example.com`, or `*` for all.
    cors_origins: Vec<String>,
    /// Networks that its keys and devices may call from; empty for all.
    ip_allow: Vec<String>,
    /// How long new keys hold at most, in seconds; 0 for ever.
    key_lifetime_seconds: u64,
    /// Whether the tenant above may read this one's stream and positions.
    parent_may_read: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BrandingView {
    name: String,
    /// An `https` address.
    logo_url: String,
    /// `#rrggbb`
    color: String,
}

impl OptionsView {
    pub(crate) fn checked(self) -> ApiResult<Options> {
        let options = Options {
            features: self.features,
            branding: Branding {
                name: self.branding.name,
                logo_url: self.branding.logo_url,
                color: self.branding.color,
            },
            cors_origins: self.cors_origins,
            ip_allow: self.ip_allow,
            key_lifetime_seconds: self.key_lifetime_seconds,
            parent_may_read: self.parent_may_read,
        };
        options
            .check(|text| text.parse::<Cidr>().is_ok())
            .map_err(|e| ApiError::invalid(format!("options.{e}.")))?;
        Ok(options)
    }
}

impl From<Options> for OptionsView {
    fn from(options: Options) -> Self {
        OptionsView {
            features: options.features,
            branding: BrandingView {
                name: options.branding.name,
                logo_url: options.branding.logo_url,
                color: options.branding.color,
            },
            cors_origins: options.cors_origins,
            ip_allow: options.ip_allow,
            key_lifetime_seconds: options.key_lifetime_seconds,
            parent_may_read: options.parent_may_read,
        }
    }
}

/// A name for people: at most 100 characters.
pub(crate) fn check_name(name: &str) -> ApiResult<()> {
    if name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err(ApiError::invalid("name, plan: at most 100 characters."));
    }
    Ok(())
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantView {
    #[schema(value_type = String, example = "ten_01k8r2q4s0f7v9w3x5y6z7a8b9")]
    pub(crate) id: TenantId,
    pub(crate) slug: String,
    name: String,
    plan: String,
    /// `tenant`, `namespace`, `default`, `runtime`, `platform`, `partner`
    kind: &'static str,
    /// The tenant above it.
    #[schema(value_type = Option<String>)]
    parent: Option<TenantId>,
    /// As its devices meet it: suspended also where a tenant above it is not active.
    state: StateView,
    /// All that it was given.
    limits: LimitsView,
    /// What is left of them for itself.
    own_limits: LimitsView,
    options: OptionsView,
    /// The partitions that its records use.
    lanes: Vec<u32>,
    /// For the operator alone: its database, `main` or one of `store.shards`.
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<String>,
    /// For the operator alone: the set of topics that it has to itself, with those below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    topics: Option<String>,
    /// Counts the changes to the tenant and all that belongs to it.
    control_version: i64,
    created_at: String,
}

impl From<Tenant> for TenantView {
    fn from(tenant: Tenant) -> Self {
        TenantView {
            id: tenant.id,
            slug: tenant.body.slug,
            name: tenant.name,
            plan: tenant.plan,
            kind: match tenant.body.kind {
                TenantKind::Tenant => "tenant",
                TenantKind::Namespace => "namespace",
                TenantKind::Default => "default",
                TenantKind::Runtime => "runtime",
                TenantKind::Platform => "platform",
                TenantKind::Partner => "partner",
                TenantKind::Other => "other",
            },
            parent: tenant.body.parent,
            state: tenant.body.state.into(),
            limits: tenant.total_limits.into(),
            own_limits: tenant.body.limits.into(),
            options: tenant.body.options.into(),
            lanes: tenant.body.placement.lanes,
            database: None,
            topics: None,
            control_version: tenant.control_version,
            created_at: time(tenant.created_at),
        }
    }
}

impl TenantView {
    /// With what only the operator sees, where it is the operator who looks.
    pub(crate) fn seen_by(tenant: Tenant, operator: bool) -> Self {
        let shard = tenant.shard.clone();
        let database = operator.then(|| shard.unwrap_or_else(|| MAIN.to_owned()));
        let topics = tenant.topic_set.clone().filter(|_| operator);
        TenantView {
            database,
            topics,
            ..tenant.into()
        }
    }
}

/// A new tenant, and the key of its first owner where one was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantCreated {
    #[serde(flatten)]
    pub(crate) tenant: TenantView,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<KeyCreated>,
    /// The hosts that it was created with, and how each is proved.
    pub(crate) hosts: Vec<HostView>,
}

//! Devices that register themselves with a provisioning key.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::details::{Labels, matches};
use laneway_tenancy::options::Options;
use laneway_tenancy::{
    CredentialId, DeviceId, ProvisioningKeyId, ProvisioningSecret, TenantId, TenantScope, Validity,
};
use sqlx::Row;

use crate::access::{Access, Tx};
use crate::codec::{Named, hex, to_json};
use crate::devices::{self, NewDevice, NewToken};
use crate::error::{Doing, Result};
use crate::homes::owner_of_secret;
use crate::outbox::{next_version, next_versions};
use crate::provisioning::{COLUMNS, ProvisioningKey, provisioning_key};
use crate::room::{Counted, room};
use crate::{Devices, NewCredential, NewSecret, Store, credentials, tenants};

/// What a device asks for.
pub struct Enrolment {
    pub device: DeviceId,
    /// Keyed hash of a secret of the device's own, by which it is told from whoever else has the
    /// key when it asks again.
    pub proof: Option<[u8; 32]>,
    /// What it says of itself.
    pub hardware: Labels,
    pub token: NewToken,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Enrolled {
    pub tenant: TenantId,
    pub slug: String,
    pub key: ProvisioningKeyId,
    /// The device was in already, and has a new token in place of the one before.
    pub again: bool,
}

/// Why a device is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotEnrolled {
    /// There is no such key (any more).
    UnknownKey,
    TenantInactive,
    /// The tenant does not take its credentials from where the device is.
    Elsewhere {
        tenant: TenantId,
        key: ProvisioningKeyId,
    },
    Expired,
    /// As many devices as the key lets in have come.
    UsedUp,
    /// The device's id does not have this form.
    Pattern(String),
    /// There is such a device, and the request does not prove to be its own.
    Exists,
    /// The tenant has as many devices as it may have.
    OverLimit {
        most: u64,
    },
}

impl Store {
    /// Registers the device in the key's tenant, with its token, and counts the use: all or
    /// nothing. `authority` is that of the role which serves devices; `takes` says of the tenant's
    /// options whether it takes its credentials from where the device is.
    pub async fn enrol(
        &self,
        authority: &RoleAuthority,
        secret: &ProvisioningSecret,
        new: Enrolment,
        takes: impl Fn(&Options) -> bool,
        at: i64,
    ) -> Result<std::result::Result<Enrolled, NotEnrolled>> {
        let hash = hex(secret.hash());
        let home = self.home_of(&hash, &new.token, at).await?;
        let mut tx = home.write(Access::Secret(hash.clone())).await?;
        let Some((tenant, _)) = find(&mut tx, &hash).await? else {
            return Ok(Err(NotEnrolled::UnknownKey));
        };
        tx.narrow(tenant).await?;
        // From here on nothing of the tenant changes: the key is looked at once more.
        next_versions(&mut tx, tenant, 0).await?;
        let Some((_, key)) = find(&mut tx, &hash).await? else {
            return Ok(Err(NotEnrolled::UnknownKey));
        };
        let Some(found) = tenants::by_id(&mut tx, tenant).await? else {
            return Ok(Err(NotEnrolled::UnknownKey));
        };
        if !found.body.is_active() {
            return Ok(Err(NotEnrolled::TenantInactive));
        }
        if !takes(&found.body.options) {
            return Ok(Err(NotEnrolled::Elsewhere {
                tenant,
                key: key.id,
            }));
        }
        if key.terms.expires_at.is_some_and(|end| end <= at) {
            return Ok(Err(NotEnrolled::Expired));
        }
        if !matches(&key.terms.pattern, new.device.as_str()) {
            return Ok(Err(NotEnrolled::Pattern(key.terms.pattern)));
        }
        let scope = authority.scope(tenant);
        let again = match before(&mut tx, &scope, &new.device).await? {
            Before::Unknown => {
                if let Err(refused) = take_in(&mut tx, &scope, &key, &new, at).await? {
                    return Ok(Err(refused));
                }
                false
            }
            Before::Enrolled {
                key: by,
                proof,
                credential,
            } if by == key.id && same(proof.as_deref(), new.proof.as_ref()) => {
                let old = (credential, &new.device);
                replace_token(&mut tx, &scope, old, &new, at).await?;
                true
            }
            Before::Enrolled { .. } | Before::Registered => return Ok(Err(NotEnrolled::Exists)),
        };
        self.commit_change(tx).await?;
        Ok(Ok(Enrolled {
            tenant,
            slug: found.body.slug,
            key: key.id,
            again,
        }))
    }
}

impl Store {
    /// The database of a provisioning key, where the new token is known to be there.
    async fn home_of(&self, key: &str, token: &NewToken, at: i64) -> Result<&Store> {
        let mut tx = self.read(Access::Secret(key.to_owned())).await?;
        let owner = owner_of_secret(&mut tx, key).await?;
        tx.commit().await?;
        let Some(tenant) = owner else {
            return Ok(self);
        };
        self.claim_secrets(tenant, &[token.hash], at).await?;
        self.home(tenant).await
    }
}

/// How a device came in by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct EnrolledBy {
    pub key: ProvisioningKeyId,
    pub at: i64,
    pub hardware: Labels,
}

impl Devices<'_> {
    pub async fn enrolled_by(&self, device: &DeviceId) -> Result<Option<EnrolledBy>> {
        let mut tx = self.store.read(Access::Tenant(self.scope.tenant())).await?;
        let row = sqlx::query(
            "SELECT key_id, enrolled_at, hardware FROM enrolments
             WHERE tenant_id = $1 AND device_id = $2",
        )
        .bind(self.scope.tenant().to_string())
        .bind(device.as_str())
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("looking for how a device came in")?;
        tx.commit().await?;
        let Some(row) = row else { return Ok(None) };
        let row = Named::new("enrolments", device.as_str(), &row);
        Ok(Some(EnrolledBy {
            key: row.parse("key_id")?,
            at: row.get("enrolled_at")?,
            hardware: row.json("hardware")?,
        }))
    }
}

async fn find(tx: &mut Tx, hash: &str) -> Result<Option<(TenantId, ProvisioningKey)>> {
    let columns = COLUMNS.replacen("SELECT ", "SELECT tenant_id, ", 1);
    let row = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{columns} WHERE token_hash = $1"
    )))
    .bind(hash)
    .fetch_optional(&mut *tx.inner)
    .await
    .doing("looking for a provisioning key")?;
    let Some(row) = row else { return Ok(None) };
    let key = provisioning_key(&row)?;
    let name = key.id.to_string();
    let row = Named::new("provisioning_keys", &name, &row);
    Ok(Some((row.parse("tenant_id")?, key)))
}

/// What there is of a device that asks to be let in.
enum Before {
    Unknown,
    /// By its tenant.
    Registered,
    Enrolled {
        key: ProvisioningKeyId,
        proof: Option<String>,
        credential: CredentialId,
    },
}

async fn before(tx: &mut Tx, scope: &TenantScope, device: &DeviceId) -> Result<Before> {
    let doing = "looking for a device that enrols";
    let row = sqlx::query(
        "SELECT e.key_id, e.proof_hash, e.credential_id FROM devices d LEFT JOIN enrolments e
            ON e.tenant_id = d.tenant_id AND e.device_id = d.device_id
         WHERE d.tenant_id = $1 AND d.device_id = $2",
    )
    .bind(scope.tenant().to_string())
    .bind(device.as_str())
    .fetch_optional(&mut *tx.inner)
    .await
    .doing(doing)?;
    let Some(row) = row else {
        return Ok(Before::Unknown);
    };
    let key: Option<String> = row.try_get("key_id").doing(doing)?;
    if key.is_none() {
        return Ok(Before::Registered);
    }
    let row = Named::new("enrolments", device.as_str(), &row);
    Ok(Before::Enrolled {
        key: row.parse("key_id")?,
        proof: row.get("proof_hash")?,
        credential: row.parse("credential_id")?,
    })
}

/// Without a proof nobody is the same.
fn same(stored: Option<&str>, presented: Option<&[u8; 32]>) -> bool {
    match (stored, presented) {
        (Some(stored), Some(presented)) => {
            verify_slices_are_equal(stored.as_bytes(), hex(presented).as_bytes()).is_ok()
        }
        _ => false,
    }
}

async fn take_in(
    tx: &mut Tx,
    scope: &TenantScope,
    key: &ProvisioningKey,
    new: &Enrolment,
    at: i64,
) -> Result<std::result::Result<(), NotEnrolled>> {
    let tenant = scope.tenant();
    if key.terms.max_uses > 0 && key.uses >= key.terms.max_uses {
        return Ok(Err(NotEnrolled::UsedUp));
    }
    let room = room(tx, tenant, Counted::Devices).await?;
    if room.left == 0 {
        return Ok(Err(NotEnrolled::OverLimit { most: room.most }));
    }
    let device = NewDevice {
        id: new.device.clone(),
        details: key.terms.details.clone(),
        token: Some(new.token.clone()),
    };
    devices::insert(tx, tenant, &[&device], at).await?;
    sqlx::query(
        "INSERT INTO enrolments (tenant_id, device_id, key_id, credential_id, proof_hash, hardware, enrolled_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(tenant.to_string())
    .bind(new.device.as_str())
    .bind(key.id.to_string())
    .bind(new.token.credential.to_string())
    .bind(new.proof.as_ref().map(|proof| hex(proof)))
    .bind(to_json(&new.hardware)?)
    .bind(at)
    .execute(&mut *tx.inner)
    .await
    .doing("enrolling a device")?;
    sqlx::query(
        "UPDATE provisioning_keys SET uses = uses + 1 WHERE tenant_id = $1 AND key_id = $2",
    )
    .bind(tenant.to_string())
    .bind(key.id.to_string())
    .execute(&mut *tx.inner)
    .await
    .doing("counting a use of a provisioning key")?;
    Ok(Ok(()))
}

/// The answer to the first request may have been lost: its token ends, and a new one begins.
async fn replace_token(
    tx: &mut Tx,
    scope: &TenantScope,
    (old, device): (CredentialId, &DeviceId),
    new: &Enrolment,
    at: i64,
) -> Result<()> {
    credentials::delete_one(tx, scope, device, old, at).await?;
    let version = next_version(tx, scope.tenant()).await?;
    let credential = NewCredential {
        id: new.token.credential,
        secret: NewSecret::Token(new.token.hash),
        valid: Validity::default(),
        others_end: None,
    };
    credentials::insert(tx, scope, device, &credential, at).await?;
    credentials::emit_change(tx, scope, (version, credential.id), device, at).await?;
    sqlx::query(
        "UPDATE enrolments SET credential_id = $3, hardware = $4, enrolled_at = $5
         WHERE tenant_id = $1 AND device_id = $2",
    )
    .bind(scope.tenant().to_string())
    .bind(device.as_str())
    .bind(credential.id.to_string())
    .bind(to_json(&new.hardware)?)
    .bind(at)
    .execute(&mut *tx.inner)
    .await
    .doing("enrolling a device again")?;
    Ok(())
}

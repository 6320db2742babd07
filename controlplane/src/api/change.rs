//! Requests that change something: for operators only, each with a line in the audit log.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::ApiError;
use super::rows::Done;
use super::viewer::Viewer;
use crate::clock;
use crate::isolation::{Isolation, Scope};
use crate::registry::Changes;
use crate::relay::{CutOff, IsolationRefused, Relay};
use crate::reload::{ReloadRefused, Reloaded};

/// Longer reasons belong into a ticket.
const REASON_LIMIT_CHARS: usize = 500;

type Changed = Result<Json<Done>, ApiError>;

/// What to cut off, and why.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IsolateRequest {
    /// What.
    pub scope: Scope,
    /// Why.
    pub reason: String,
}

/// # Errors
/// For everybody but an operator. A viewer of some tenants gets the answer of a tenant that does not exist where it is not theirs.
fn permit(viewer: &Viewer, tenant: Option<&str>, action: &str) -> Result<(), ApiError> {
    if viewer.may_change() {
        return Ok(());
    }
    tracing::warn!(target: "audit", who = viewer.who, tenant, action, "refused: not an operator");
    if tenant.is_some_and(|tenant| !viewer.sees(tenant)) {
        return Err(ApiError::no_such_tenant());
    }
    Err(ApiError::new(StatusCode::FORBIDDEN, "only an operator may change anything"))
}

pub(super) async fn reload(State(relay): State<Arc<Relay>>, viewer: Viewer) -> Changed {
    permit(&viewer, None, "reload")?;
    match relay.reload(&viewer.who).await {
        Ok(reloaded) => Ok(Json(done(&reloaded))),
        Err(refused) => Err(refusal(&refused)),
    }
}

fn done(reloaded: &Reloaded) -> Done {
    let Changes { added, changed, removed, unchanged } = &reloaded.changes;
    let (added, changed, removed) = (added.len(), changed.len(), removed.len());
    Done {
        message: format!(
            "configuration {}: {added} tenants added, {changed} changed, {removed} removed, {unchanged} left alone; {}",
            reloaded.generation,
            reloaded.cost()
        ),
        warnings: reloaded.warnings.iter().map(ToString::to_string).collect(),
        effective: reloaded.adopted,
        saved: true,
    }
}

fn refusal(refused: &ReloadRefused) -> ApiError {
    let (status, problems) = match refused {
        ReloadRefused::Problems(problems) => (StatusCode::UNPROCESSABLE_ENTITY, problems.iter().map(ToString::to_string).collect()),
        ReloadRefused::NeedsRestart(_) => (StatusCode::CONFLICT, Vec::new()),
    };
    ApiError::new(status, refused.to_string()).with_problems(problems)
}

pub(super) async fn isolate(State(relay): State<Arc<Relay>>, viewer: Viewer, Json(request): Json<IsolateRequest>) -> Changed {
    let IsolateRequest { scope, reason } = request;
    permit(&viewer, Some(&scope.tenant), "isolate")?;
    // One line, whoever prints it.
    let reason: String = reason.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if reason.is_empty() || reason.chars().count() > REASON_LIMIT_CHARS {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, format!("give a reason of 1 to {REASON_LIMIT_CHARS} characters")));
    }
    if scope.class.is_some() && scope.service.is_some() {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "give a class or a service, not both"));
    }
    let isolation = Isolation { scope: scope.clone(), reason: reason.clone(), by: viewer.who.clone(), at: clock::now() };
    let cut_off = relay.isolate(isolation).await?;
    tracing::warn!(target: "audit", who = viewer.who, tenant = scope.tenant, class = scope.class, service = scope.service, reason, "isolated");
    Ok(Json(carried_out(format!("{scope}: isolated"), &cut_off, "would not outlive a restart")))
}

pub(super) async fn reopen(State(relay): State<Arc<Relay>>, viewer: Viewer, Json(scope): Json<Scope>) -> Changed {
    permit(&viewer, Some(&scope.tenant), "reopen")?;
    let cut_off = relay.reopen(&scope).await?;
    tracing::warn!(target: "audit", who = viewer.who, tenant = scope.tenant, class = scope.class, service = scope.service, "reopened");
    Ok(Json(carried_out(format!("{scope}: reopened"), &cut_off, "a restart would bring the cut-off back")))
}

/// `otherwise` is what a restart does to a change that is not on disk.
fn carried_out(message: String, cut_off: &CutOff, otherwise: &str) -> Done {
    let warning = |error: &std::io::Error| {
        format!(
            "warning: in force, but {otherwise}: the directory `state` cannot be written ({error}); mend it, the relay tries every second"
        )
    };
    let CutOff { effective, unsaved } = cut_off;
    Done { message, warnings: unsaved.iter().map(warning).collect(), effective: *effective, saved: unsaved.is_none() }
}

impl From<IsolationRefused> for ApiError {
    fn from(refused: IsolationRefused) -> Self {
        match refused {
            IsolationRefused::NoSuchTenant => Self::no_such_tenant(),
            IsolationRefused::NoSuchClass => Self::new(StatusCode::BAD_REQUEST, refused.to_string()),
            IsolationRefused::NoSuchRule | IsolationRefused::NotIsolated => Self::new(StatusCode::NOT_FOUND, refused.to_string()),
        }
    }
}

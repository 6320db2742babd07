//! Who asks, and what they may see. A foreign tenant answers exactly as one that does not exist.

use std::collections::BTreeSet;

use crate::config::{Api, Role};

/// What a viewer may see and do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sight {
    /// Sees everything and may change it.
    Operator,
    /// Sees everything and changes nothing.
    Auditor,
    /// Sees these tenants and nothing of any other.
    Tenants(BTreeSet<String>),
}

/// Someone who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Viewer {
    /// As the audit log names them.
    pub who: String,
    /// What they may see.
    pub sight: Sight,
}

/// Why a request is refused before its content is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The user is no viewer.
    Stranger,
    /// Only an operator may look through another viewer's eyes.
    NotAnOperator,
    /// There is no viewer of this name.
    NoSuchViewer,
}

impl Viewer {
    /// The viewer behind a socket whose peer runs as `uid`, looking as the viewer `seen_as` where an operator asks for that.
    ///
    /// # Errors
    /// Why there is no such viewer.
    pub fn identify(api: Option<&Api>, own_uid: u32, uid: u32, seen_as: Option<&str>) -> Result<Self, Refused> {
        let viewers = api.map_or(&[][..], |api| &api.viewers);
        let listed = viewers.iter().find(|viewer| viewer.uid == uid);
        let sight = match listed {
            _ if uid == 0 || uid == own_uid => Sight::Operator,
            Some(viewer) => sight_of(&viewer.role),
            None => return Err(Refused::Stranger),
        };
        let who = listed.map_or_else(|| format!("uid {uid}"), |viewer| format!("{} (uid {uid})", viewer.name));
        let Some(name) = seen_as else { return Ok(Self { who, sight }) };
        if sight != Sight::Operator {
            return Err(Refused::NotAnOperator);
        }
        let other = viewers.iter().find(|viewer| viewer.name == name).ok_or(Refused::NoSuchViewer)?;
        Ok(Self { who: format!("{who} as {name}"), sight: sight_of(&other.role) })
    }

    /// Whether they may see this tenant.
    #[must_use]
    pub fn sees(&self, tenant: &str) -> bool {
        match &self.sight {
            Sight::Operator | Sight::Auditor => true,
            Sight::Tenants(tenants) => tenants.contains(tenant),
        }
    }

    /// Whether they may see what belongs to no tenant: ports, access neighbours, drops before a tenant was known.
    #[must_use]
    pub fn sees_relay(&self) -> bool {
        !matches!(self.sight, Sight::Tenants(_))
    }

    /// Whether they may change anything.
    #[must_use]
    pub fn may_change(&self) -> bool {
        self.sight == Sight::Operator
    }
}

fn sight_of(role: &Role) -> Sight {
    match role {
        Role::Operator => Sight::Operator,
        Role::Auditor => Sight::Auditor,
        Role::Tenants(tenants) => Sight::Tenants(tenants.iter().cloned().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config as model;

    fn api() -> Api {
        let viewer = |name: &str, uid, role| model::Viewer { name: name.into(), uid, role };
        let chiyoda = Role::Tenants(vec!["131016-chiyoda".into()]);
        Api { socket: "/tmp/x".into(), viewers: vec![viewer("chiyoda", 2001, chiyoda), viewer("auditor", 2002, Role::Auditor)] }
    }

    fn identify(uid: u32, seen_as: Option<&str>) -> Result<Viewer, Refused> {
        Viewer::identify(Some(&api()), 990, uid, seen_as)
    }

    #[test]
    fn root_and_the_relays_own_user_are_operators_and_a_stranger_is_nobody() {
        assert_eq!(identify(0, None).expect("root").sight, Sight::Operator);
        assert_eq!(identify(990, None).expect("own").sight, Sight::Operator);
        assert_eq!(identify(4242, None), Err(Refused::Stranger));
        assert_eq!(Viewer::identify(None, 990, 2001, None), Err(Refused::Stranger));
    }

    #[test]
    fn a_contractor_sees_its_own_tenants_and_nothing_of_the_relay() {
        let viewer = identify(2001, None).expect("listed");
        assert!(viewer.sees("131016-chiyoda") && !viewer.sees("131024-chuo"));
        assert!(!viewer.sees_relay() && !viewer.may_change());
        assert_eq!(viewer.who, "chiyoda (uid 2001)");
    }

    #[test]
    fn an_auditor_sees_everything_and_changes_nothing() {
        let viewer = identify(2002, None).expect("listed");
        assert!(viewer.sees("131024-chuo") && viewer.sees_relay() && !viewer.may_change());
    }

    #[test]
    fn only_an_operator_looks_through_another_viewers_eyes_and_loses_its_own_rights_by_it() {
        let viewer = identify(0, Some("chiyoda")).expect("listed");
        assert!(!viewer.sees("131024-chuo") && !viewer.may_change());
        assert_eq!(viewer.who, "uid 0 as chiyoda");
        assert_eq!(identify(2002, Some("chiyoda")), Err(Refused::NotAnOperator));
        assert_eq!(identify(0, Some("nobody")), Err(Refused::NoSuchViewer));
    }
}

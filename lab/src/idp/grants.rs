//! What was granted: codes, and the families of tokens that grew out of them.

use crate::expiring::{Expiring, Full};
use crate::random;

/// An authorization request that may be shown to a person.
#[derive(Debug, Clone)]
pub(super) struct AuthorizationRequest {
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
    pub(super) nonce: Option<String>,
    pub(super) scope: Vec<String>,
    /// The S256 code challenge.
    pub(super) challenge: String,
    /// Whether the client wants a second factor.
    pub(super) second_factor: bool,
}

/// A login page that a person is looking at.
#[derive(Debug)]
pub(super) struct Interaction {
    pub(super) request: AuthorizationRequest,
    /// Sent in the form and, as a cookie, by the browser that got the form.
    pub(super) csrf: String,
}

/// What a code can be exchanged for.
#[derive(Debug, Clone)]
pub(super) struct CodeGrant {
    pub(super) redirect_uri: String,
    pub(super) challenge: String,
    pub(super) grant: Grant,
}

/// What a person allowed the client.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    pub(super) login: String,
    pub(super) scope: Vec<String>,
    pub(super) nonce: Option<String>,
    pub(super) auth_time: u64,
    /// Whether they showed a second factor.
    pub(super) second_factor: bool,
}

/// Fresh tokens, and what they stand for.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) grant: Grant,
    pub(super) access_token: String,
    pub(super) refresh_token: Option<String>,
}

/// Everything that the provider remembers.
#[derive(Debug)]
pub(super) struct Grants {
    pushed: Expiring<AuthorizationRequest>,
    interactions: Expiring<Interaction>,
    codes: Expiring<Code>,
    families: Expiring<Grant>,
    access_tokens: Expiring<FamilyId>,
    refresh_tokens: Expiring<RefreshToken>,
}

#[derive(Debug)]
enum Code {
    Fresh(CodeGrant),
    Spent(FamilyId),
}

#[derive(Debug)]
struct RefreshToken {
    family: FamilyId,
    spent: bool,
}

type FamilyId = String;

impl Default for Grants {
    fn default() -> Self {
        Self {
            pushed: Expiring::new(CAPACITY),
            interactions: Expiring::new(CAPACITY),
            codes: Expiring::new(CAPACITY),
            families: Expiring::new(CAPACITY),
            access_tokens: Expiring::new(TOKEN_CAPACITY),
            refresh_tokens: Expiring::new(TOKEN_CAPACITY),
        }
    }
}

impl Grants {
    /// Keeps a pushed request, and returns its one-time `request_uri`.
    pub(super) fn push(&mut self, request: AuthorizationRequest, now: u64) -> Result<String, Full> {
        let uri = format!("{REQUEST_URI_PREFIX}{}", random::token());
        self.pushed
            .insert(uri.clone(), request, now + PUSHED_LIFETIME, now)?;
        Ok(uri)
    }

    /// Takes a pushed request.
    pub(super) fn take_pushed(&mut self, uri: &str, now: u64) -> Option<AuthorizationRequest> {
        self.pushed.take(uri, now)
    }

    /// Keeps a request while a person looks at it, and returns its id and CSRF token.
    pub(super) fn begin(
        &mut self,
        request: AuthorizationRequest,
        now: u64,
    ) -> Result<(String, String), Full> {
        let (id, csrf) = (random::identifier(), random::token());
        let interaction = Interaction {
            request,
            csrf: csrf.clone(),
        };
        self.interactions
            .insert(id.clone(), interaction, now + INTERACTION_LIFETIME, now)?;
        Ok((id, csrf))
    }

    /// Returns the page that a person is looking at.
    pub(super) fn interaction(&self, id: &str, now: u64) -> Option<&Interaction> {
        self.interactions.find(id, now)
    }

    /// Ends an interaction.
    pub(super) fn finish(&mut self, id: &str, now: u64) -> Option<AuthorizationRequest> {
        self.interactions
            .take(id, now)
            .map(|interaction| interaction.request)
    }

    /// Makes a code for `grant`.
    pub(super) fn make_code(&mut self, grant: CodeGrant, now: u64) -> Result<String, Full> {
        let code = random::token();
        self.codes
            .insert(code.clone(), Code::Fresh(grant), now + CODE_LIFETIME, now)?;
        Ok(code)
    }

    /// Spends `code` if `accept` finds that the caller may have what it stands
    /// for. A code that comes again ends everything it was exchanged for.
    pub(super) fn redeem<E: From<Full>>(
        &mut self,
        code: &str,
        now: u64,
        accept: impl FnOnce(&CodeGrant) -> Result<(), E>,
    ) -> Result<Option<Issued>, E> {
        let grant = match self.codes.take(code, now) {
            Some(Code::Fresh(grant)) => grant,
            Some(Code::Spent(family)) => {
                self.families.take(&family, now);
                return Ok(None);
            }
            None => return Ok(None),
        };
        accept(&grant)?;

        let family = random::identifier();
        self.families.insert(
            family.clone(),
            grant.grant.clone(),
            now + FAMILY_LIFETIME,
            now,
        )?;
        let spent = Code::Spent(family.clone());
        self.codes
            .insert(code.to_owned(), spent, now + CODE_LIFETIME, now)?;
        Ok(Some(self.issue(family, grant.grant, now)?))
    }

    /// Exchanges a refresh token for fresh tokens. One that comes again ends
    /// its family (RFC 9700 §4.14.2).
    pub(super) fn refresh(&mut self, token: &str, now: u64) -> Result<Option<Issued>, Full> {
        let Some(found) = self.refresh_tokens.find_mut(token, now) else {
            return Ok(None);
        };
        let family = found.family.clone();
        if found.spent {
            self.families.take(&family, now);
            return Ok(None);
        }
        let Some(grant) = self.families.find(&family, now).cloned() else {
            return Ok(None);
        };
        found.spent = true;
        self.issue(family, grant, now).map(Some)
    }

    /// Ends the family that `token` belongs to, if there is one.
    pub(super) fn revoke(&mut self, token: &str, now: u64) {
        let family = self
            .refresh_tokens
            .find(token, now)
            .map(|found| &found.family)
            .or_else(|| self.access_tokens.find(token, now));
        if let Some(family) = family.cloned() {
            self.families.take(&family, now);
        }
    }

    /// Returns what an access token stands for.
    pub(super) fn access(&self, token: &str, now: u64) -> Option<&Grant> {
        let family = self.access_tokens.find(token, now)?;
        self.families.find(family, now)
    }

    fn issue(&mut self, family: FamilyId, grant: Grant, now: u64) -> Result<Issued, Full> {
        let access_token = random::token();
        self.access_tokens.insert(
            access_token.clone(),
            family.clone(),
            now + ACCESS_LIFETIME,
            now,
        )?;
        let refresh_token = if grant.scope.iter().any(|scope| scope == "offline_access") {
            let token = random::token();
            let entry = RefreshToken {
                family,
                spent: false,
            };
            self.refresh_tokens
                .insert(token.clone(), entry, now + FAMILY_LIFETIME, now)?;
            Some(token)
        } else {
            None
        };
        Ok(Issued {
            grant,
            access_token,
            refresh_token,
        })
    }
}

/// The form that RFC 9126 suggests.
pub(super) const REQUEST_URI_PREFIX: &str = "urn:ietf:params:oauth:request_uri:";

/// Seconds from the push to the browser's visit.
pub(super) const PUSHED_LIFETIME: u64 = 60;

/// Seconds that an access token is good for.
pub(super) const ACCESS_LIFETIME: u64 = 300;

/// Seconds that an ID token is good for.
pub(super) const ID_TOKEN_LIFETIME: u64 = 300;

/// Seconds that a person may look at the login page.
pub(super) const INTERACTION_LIFETIME: u64 = 600;

/// Seconds from the redirect to the exchange; a program is waiting for it.
const CODE_LIFETIME: u64 = 60;

/// Seconds that refreshing is possible after one login: a working day.
const FAMILY_LIFETIME: u64 = 12 * 3600;

/// More logins at once than a company in one process has.
const CAPACITY: usize = 4096;

/// Twelve hours of refreshing for a hundred devices every five minutes.
const TOKEN_CAPACITY: usize = 16_384;

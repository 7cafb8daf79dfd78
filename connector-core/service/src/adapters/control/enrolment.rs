//! Admitting this host's key, once.

use connector_core::control::{ENROLMENT_TYPE, Enrolment, EnrolmentProof};
use connector_core::identity::HostId;
use connector_core::jws::{self, PublicKey};
use serde::{Deserialize, Serialize};

use super::Config;
use super::api::HostCredential;

/// Returns this host's credential, enrolling it if that was not done yet.
pub(super) async fn enrol(config: &Config) -> anyhow::Result<HostCredential> {
    let control_plane = config.api.audience();
    if let Some(stored) = stored(config)?
        && stored.control_plane == control_plane
    {
        return Ok(credential(config, &stored.host_id));
    }

    let challenge = config.api.challenge().await?;
    let proof = EnrolmentProof {
        aud: control_plane.clone(),
        challenge: challenge.challenge,
    };
    let enrolment = Enrolment {
        public_key: PublicKey::of(&config.host_key).to_string(),
        name: config.device_name.clone(),
        os: std::env::consts::OS.to_owned(),
        token: token(config)?,
        proof: jws::sign(&config.host_key, ENROLMENT_TYPE, &proof)?,
    };
    let enrolled = config.api.enrol(&enrolment).await?;

    let host = StoredHost {
        control_plane,
        host_id: enrolled.host_id,
    };
    config.state.write(HOST, &serde_json::to_vec(&host)?)?;
    Ok(credential(config, &host.host_id))
}

fn credential(config: &Config, host_id: &str) -> HostCredential {
    HostCredential {
        id: HostId::from(host_id),
        key: config.host_key.clone(),
    }
}

fn stored(config: &Config) -> anyhow::Result<Option<StoredHost>> {
    let Some(bytes) = config.state.read(HOST)? else {
        return Ok(None);
    };
    Ok(serde_json::from_slice(&bytes)
        .inspect_err(
            |error| tracing::warn!(%error, "The stored enrolment cannot be read; enrolling anew"),
        )
        .ok())
}

fn token(config: &Config) -> anyhow::Result<Option<String>> {
    let Some(path) = &config.enrolment_token_file else {
        return Ok(None);
    };
    let token = std::fs::read_to_string(path).map_err(|error| {
        anyhow::anyhow!(
            "Failed to read the enrolment token {}: {error}. The user that the service runs as has to be able to; the \
             system's is `ztna`",
            path.display()
        )
    })?;
    Ok(Some(token.trim().to_owned()))
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredHost {
    control_plane: String,
    host_id: String,
}

const HOST: &str = "host.json";

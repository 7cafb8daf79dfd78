//! systemd-resolved over D-Bus (`org.freedesktop.resolve1(5)`): the tunnel's link
//! gets the stub as its name server, for protected names alone.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use connector_core::name::DomainName;
use zbus::Connection;
use zbus::zvariant::{OwnedObjectPath, OwnedValue};

use crate::steering::Dns;

/// The service, if it runs. Nothing here starts it.
#[derive(Debug)]
pub(super) struct Resolved(Connection);

impl Resolved {
    /// Looks for it.
    ///
    /// # Errors
    ///
    /// If there is a system bus that does not answer.
    pub(super) async fn find() -> io::Result<Option<Self>> {
        if !Path::new(BUS).exists() {
            return Ok(None);
        }
        let look = async {
            let address = format!("unix:path={BUS}");
            let bus = zbus::connection::Builder::address(address.as_str())?
                .build()
                .await?;
            let names = zbus::fdo::DBusProxy::new(&bus).await?;
            let name = SERVICE.try_into().map_err(zbus::Error::from)?;
            let is_there = names.name_has_owner(name).await?;
            Ok(is_there.then_some(Self(bus)))
        };
        timely("ask the system bus for systemd-resolved", look).await
    }

    /// Returns whether the link is set as [`Self::establish`] sets it.
    pub(super) async fn is_established(&self, link: u32, dns: &Dns) -> io::Result<bool> {
        let read = async {
            let path: OwnedObjectPath = self.manager("GetLink", &(index(link),)).await?;
            let servers: Vec<(i32, Vec<u8>)> = self.property(&path, "DNS").await?;
            let domains: Vec<(String, bool)> = self.property(&path, "Domains").await?;
            let is_default: bool = self.property(&path, "DefaultRoute").await?;
            Ok((servers, domains, is_default))
        };
        let (servers, domains, is_default) = timely("read the link's name servers", read).await?;
        let mut wanted = routing_domains(&dns.suffixes);
        let mut domains: Vec<(String, bool)> = domains;
        wanted.sort();
        domains.sort();
        Ok(servers == addresses(&dns.servers) && domains == wanted && !is_default)
    }

    /// Sends questions for protected names, and no others, to the stub.
    pub(super) async fn establish(&self, link: u32, dns: &Dns) -> io::Result<()> {
        let link = index(link);
        let set = async {
            let () = self.manager("SetLinkDefaultRoute", &(link, false)).await?;
            // The stub's answers are not in the world's tree of signatures, are not
            // encrypted on their way within this machine, and concern no neighbour.
            for method in [
                "SetLinkDNSSEC",
                "SetLinkDNSOverTLS",
                "SetLinkLLMNR",
                "SetLinkMulticastDNS",
            ] {
                let () = self.manager(method, &(link, "no")).await?;
            }
            let () = self
                .manager("SetLinkDomains", &(link, routing_domains(&dns.suffixes)))
                .await?;
            let () = self
                .manager("SetLinkDNS", &(link, addresses(&dns.servers)))
                .await?;
            self.manager("FlushCaches", &()).await
        };
        timely("set the link's name servers", set).await
    }

    /// Takes back what was set on the link.
    pub(super) async fn revert(&self, link: u32) -> io::Result<()> {
        let revert = async {
            let () = self.manager("RevertLink", &(index(link),)).await?;
            self.manager("FlushCaches", &()).await
        };
        timely("take back the link's name servers", revert).await
    }

    async fn manager<Arguments, Answer>(
        &self,
        method: &str,
        arguments: &Arguments,
    ) -> zbus::Result<Answer>
    where
        Arguments: serde::Serialize + zbus::zvariant::DynamicType + Sync,
        Answer: for<'d> zbus::zvariant::DynamicDeserialize<'d>,
    {
        let reply = self
            .0
            .call_method(Some(SERVICE), OBJECT, Some(MANAGER), method, arguments)
            .await?;
        reply.body().deserialize()
    }

    async fn property<Value>(&self, link: &OwnedObjectPath, name: &str) -> zbus::Result<Value>
    where
        Value: TryFrom<OwnedValue>,
        Value::Error: Into<zbus::Error>,
    {
        let reply = self
            .0
            .call_method(Some(SERVICE), link, Some(PROPERTIES), "Get", &(LINK, name))
            .await?;
        let value: OwnedValue = reply.body().deserialize()?;
        value.try_into().map_err(Into::into)
    }
}

async fn timely<T>(action: &str, call: impl Future<Output = zbus::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(io::Error::other(format!(
            "systemd-resolved refuses to {action}: {error}"
        ))),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("cannot {action}: no answer within {} s", PATIENCE.as_secs()),
        )),
    }
}

/// Links are numbered with signed integers on the bus.
const fn index(link: u32) -> i32 {
    link.cast_signed()
}

fn addresses(servers: &[IpAddr]) -> Vec<(i32, Vec<u8>)> {
    servers
        .iter()
        .map(|server| match server {
            IpAddr::V4(v4) => (AF_INET, v4.octets().to_vec()),
            IpAddr::V6(v6) => (AF_INET6, v6.octets().to_vec()),
        })
        .collect()
}

/// The second half says that a domain is not one to search in.
fn routing_domains(suffixes: &[DomainName]) -> Vec<(String, bool)> {
    suffixes
        .iter()
        .map(|suffix| (suffix.to_string(), true))
        .collect()
}

const SERVICE: &str = "org.freedesktop.resolve1";
const OBJECT: &str = "/org/freedesktop/resolve1";
const MANAGER: &str = "org.freedesktop.resolve1.Manager";
const LINK: &str = "org.freedesktop.resolve1.Link";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// The system bus; what the environment says of it does not count.
const BUS: &str = "/run/dbus/system_bus_socket";

/// Local programs answer within milliseconds; what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(3);

const AF_INET: i32 = 2;
const AF_INET6: i32 = 10;

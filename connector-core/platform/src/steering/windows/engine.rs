//! The guard in the filter engine (Windows Filtering Platform).
//!
//! The filters are neither those of a session, which would vanish when the
//! process dies, nor persistent, which would outlive a restart of the machine.

use std::io;
use std::net::IpAddr;
use std::ptr;

use windows_sys::Win32::Foundation::{
    FWP_E_ALREADY_EXISTS, FWP_E_FILTER_NOT_FOUND, FWP_E_PROVIDER_NOT_FOUND,
    FWP_E_SUBLAYER_NOT_FOUND, HANDLE,
};
use windows_sys::Win32::NetworkManagement::WindowsFilteringPlatform::{
    FWP_ACTION_BLOCK, FWP_CONDITION_FLAG_IS_LOOPBACK, FWP_CONDITION_VALUE0, FWP_CONDITION_VALUE0_0,
    FWP_MATCH_EQUAL, FWP_MATCH_FLAGS_NONE_SET, FWP_MATCH_NOT_EQUAL, FWP_UINT8, FWP_UINT32,
    FWP_UINT64, FWP_V4_ADDR_AND_MASK, FWP_V4_ADDR_MASK, FWP_V6_ADDR_AND_MASK, FWP_V6_ADDR_MASK,
    FWP_VALUE0, FWP_VALUE0_0, FWPM_ACTION0, FWPM_CONDITION_FLAGS,
    FWPM_CONDITION_IP_LOCAL_INTERFACE, FWPM_CONDITION_IP_REMOTE_ADDRESS, FWPM_DISPLAY_DATA0,
    FWPM_FILTER_CONDITION0, FWPM_FILTER_FLAG_CLEAR_ACTION_RIGHT, FWPM_FILTER0,
    FWPM_LAYER_ALE_AUTH_CONNECT_V4, FWPM_LAYER_ALE_AUTH_CONNECT_V6,
    FWPM_LAYER_OUTBOUND_IPPACKET_V4, FWPM_LAYER_OUTBOUND_IPPACKET_V6, FWPM_PROVIDER0,
    FWPM_SUBLAYER0, FwpmEngineClose0, FwpmEngineOpen0, FwpmFilterAdd0, FwpmFilterDeleteByKey0,
    FwpmFilterGetByKey0, FwpmFreeMemory0, FwpmProviderAdd0, FwpmProviderDeleteByKey0,
    FwpmSubLayerAdd0, FwpmSubLayerDeleteByKey0, FwpmTransactionAbort0, FwpmTransactionBegin0,
    FwpmTransactionCommit0,
};
use windows_sys::Win32::System::Rpc::RPC_C_AUTHN_DEFAULT;
use windows_sys::core::GUID;

use super::filters::{self, Filter, Filters, Layer, PROVIDER, SUBLAYER};
use crate::registry::check;
use crate::wide::wide;

/// Puts `filters` in the place of those from before, all at once.
pub(super) fn load(filters: &Filters) -> io::Result<()> {
    Engine::open()?.in_transaction(|engine| {
        engine.delete_filters()?;
        engine.add_provider()?;
        engine.add_sublayer()?;
        filters
            .filters
            .iter()
            .try_for_each(|filter| engine.add_filter(filter, filters.device))
    })
}

/// Removes every filter of ours, if there are any.
pub(super) fn unload() -> io::Result<()> {
    Engine::open()?.in_transaction(|engine| {
        engine.delete_filters()?;
        engine.delete_sublayer()?;
        engine.delete_provider()
    })
}

/// Returns whether every filter is there.
pub(super) fn is_loaded(filters: &Filters) -> io::Result<bool> {
    let engine = Engine::open()?;
    for filter in &filters.filters {
        if !engine.has_filter(filter)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A session with the filter engine.
struct Engine(HANDLE);

impl Engine {
    #[expect(unsafe_code, reason = "the system's interface")]
    fn open() -> io::Result<Self> {
        let mut handle = ptr::null_mut();
        // SAFETY: the out pointer is valid; the other pointers may be null.
        let outcome = unsafe {
            FwpmEngineOpen0(
                ptr::null(),
                RPC_C_AUTHN_DEFAULT.cast_unsigned(),
                ptr::null(),
                ptr::null(),
                &raw mut handle,
            )
        };
        check(outcome).map(|()| Self(handle))
    }

    #[expect(unsafe_code, reason = "the system's interface")]
    fn in_transaction(&self, act: impl FnOnce(&Self) -> io::Result<()>) -> io::Result<()> {
        // SAFETY: the session is open.
        check(unsafe { FwpmTransactionBegin0(self.0, 0) })?;
        match act(self) {
            // SAFETY: the session is open and in the transaction.
            Ok(()) => check(unsafe { FwpmTransactionCommit0(self.0) }),
            Err(error) => {
                // SAFETY: the session is open and in the transaction.
                unsafe { FwpmTransactionAbort0(self.0) };
                Err(error)
            }
        }
    }

    #[expect(unsafe_code, reason = "the system's interface")]
    fn add_provider(&self) -> io::Result<()> {
        let mut name = wide(NAME);
        let provider = FWPM_PROVIDER0 {
            providerKey: GUID::from_u128(PROVIDER),
            displayData: named(&mut name),
            ..Default::default()
        };
        // SAFETY: the session is open; the description and the name that it
        // points to outlive the call.
        let outcome = unsafe { FwpmProviderAdd0(self.0, &raw const provider, ptr::null_mut()) };
        check_but_for(outcome, FWP_E_ALREADY_EXISTS)
    }

    #[expect(unsafe_code, reason = "the system's interface")]
    fn add_sublayer(&self) -> io::Result<()> {
        let mut name = wide(NAME);
        let mut provider = GUID::from_u128(PROVIDER);
        let sublayer = FWPM_SUBLAYER0 {
            subLayerKey: GUID::from_u128(SUBLAYER),
            displayData: named(&mut name),
            providerKey: &raw mut provider,
            weight: u16::MAX,
            ..Default::default()
        };
        // SAFETY: the session is open; the description and what it points to
        // outlive the call.
        let outcome = unsafe { FwpmSubLayerAdd0(self.0, &raw const sublayer, ptr::null_mut()) };
        check_but_for(outcome, FWP_E_ALREADY_EXISTS)
    }

    /// Adds a filter whose conditions must all hold: towards the prefix, not
    /// through the device, not to the machine itself.
    #[expect(unsafe_code, reason = "the system's interface")]
    fn add_filter(&self, filter: &Filter, device: u64) -> io::Result<()> {
        let mut name = wide(NAME);
        let mut provider = GUID::from_u128(PROVIDER);
        let mut device = device;
        let mut v4 = FWP_V4_ADDR_AND_MASK::default();
        let mut v6 = FWP_V6_ADDR_AND_MASK::default();
        let (kind, remote) = match filter.prefix.address() {
            IpAddr::V4(address) => {
                v4.addr = address.to_bits();
                v4.mask = filters::mask(filter.prefix.length());
                let value = FWP_CONDITION_VALUE0_0 {
                    v4AddrMask: &raw mut v4,
                };
                (FWP_V4_ADDR_MASK, value)
            }
            IpAddr::V6(address) => {
                v6.addr = address.octets();
                v6.prefixLength = filter.prefix.length();
                let value = FWP_CONDITION_VALUE0_0 {
                    v6AddrMask: &raw mut v6,
                };
                (FWP_V6_ADDR_MASK, value)
            }
        };
        let condition = |field, matching, kind, value| FWPM_FILTER_CONDITION0 {
            fieldKey: field,
            matchType: matching,
            conditionValue: FWP_CONDITION_VALUE0 {
                r#type: kind,
                Anonymous: value,
            },
        };
        let mut conditions = [
            condition(
                FWPM_CONDITION_IP_REMOTE_ADDRESS,
                FWP_MATCH_EQUAL,
                kind,
                remote,
            ),
            condition(
                FWPM_CONDITION_IP_LOCAL_INTERFACE,
                FWP_MATCH_NOT_EQUAL,
                FWP_UINT64,
                FWP_CONDITION_VALUE0_0 {
                    uint64: &raw mut device,
                },
            ),
            condition(
                FWPM_CONDITION_FLAGS,
                FWP_MATCH_FLAGS_NONE_SET,
                FWP_UINT32,
                FWP_CONDITION_VALUE0_0 {
                    uint32: FWP_CONDITION_FLAG_IS_LOOPBACK,
                },
            ),
        ];
        let raw = FWPM_FILTER0 {
            filterKey: GUID::from_u128(filter.key),
            displayData: named(&mut name),
            // Nobody's permission in another sublayer weighs more.
            flags: FWPM_FILTER_FLAG_CLEAR_ACTION_RIGHT,
            providerKey: &raw mut provider,
            layerKey: layer(filter.layer),
            subLayerKey: GUID::from_u128(SUBLAYER),
            weight: FWP_VALUE0 {
                r#type: FWP_UINT8,
                Anonymous: FWP_VALUE0_0 {
                    uint8: HIGHEST_WEIGHT,
                },
            },
            numFilterConditions: CONDITIONS,
            filterCondition: conditions.as_mut_ptr(),
            action: FWPM_ACTION0 {
                r#type: FWP_ACTION_BLOCK,
                ..Default::default()
            },
            ..Default::default()
        };
        // SAFETY: the session is open; the description and everything that it
        // points to outlive the call; there are as many conditions as it says.
        let outcome =
            unsafe { FwpmFilterAdd0(self.0, &raw const raw, ptr::null_mut(), ptr::null_mut()) };
        check(outcome)
    }

    #[expect(unsafe_code, reason = "the system's interface")]
    fn has_filter(&self, filter: &Filter) -> io::Result<bool> {
        let key = GUID::from_u128(filter.key);
        let mut found: *mut FWPM_FILTER0 = ptr::null_mut();
        // SAFETY: the session is open, and both pointers are valid.
        let outcome = unsafe { FwpmFilterGetByKey0(self.0, &raw const key, &raw mut found) };
        if outcome == FWP_E_FILTER_NOT_FOUND.cast_unsigned() {
            return Ok(false);
        }
        check(outcome)?;
        // SAFETY: the call has succeeded, and the description is not used.
        unsafe { FwpmFreeMemory0((&raw mut found).cast()) };
        Ok(true)
    }

    /// Deletes all filters of ours; they are numbered, and few can be missing.
    #[expect(unsafe_code, reason = "the system's interface")]
    fn delete_filters(&self) -> io::Result<()> {
        let mut misses = 0;
        for index in 0.. {
            let key = GUID::from_u128(filters::key(index));
            // SAFETY: the session is open and the key is valid.
            let outcome = unsafe { FwpmFilterDeleteByKey0(self.0, &raw const key) };
            if outcome == FWP_E_FILTER_NOT_FOUND.cast_unsigned() {
                misses += 1;
                if misses == MOST_MISSES {
                    break;
                }
            } else {
                check(outcome)?;
                misses = 0;
            }
        }
        Ok(())
    }

    #[expect(unsafe_code, reason = "the system's interface")]
    fn delete_sublayer(&self) -> io::Result<()> {
        let key = GUID::from_u128(SUBLAYER);
        // SAFETY: the session is open and the key is valid.
        let outcome = unsafe { FwpmSubLayerDeleteByKey0(self.0, &raw const key) };
        check_but_for(outcome, FWP_E_SUBLAYER_NOT_FOUND)
    }

    #[expect(unsafe_code, reason = "the system's interface")]
    fn delete_provider(&self) -> io::Result<()> {
        let key = GUID::from_u128(PROVIDER);
        // SAFETY: the session is open and the key is valid.
        let outcome = unsafe { FwpmProviderDeleteByKey0(self.0, &raw const key) };
        check_but_for(outcome, FWP_E_PROVIDER_NOT_FOUND)
    }
}

impl Drop for Engine {
    #[expect(unsafe_code, reason = "the system's interface")]
    fn drop(&mut self) {
        // SAFETY: the session is open and nothing else closes it.
        unsafe { FwpmEngineClose0(self.0) };
    }
}

fn check_but_for(outcome: u32, tolerated: i32) -> io::Result<()> {
    if outcome == tolerated.cast_unsigned() {
        return Ok(());
    }
    check(outcome)
}

fn layer(layer: Layer) -> GUID {
    match layer {
        Layer::ConnectV4 => FWPM_LAYER_ALE_AUTH_CONNECT_V4,
        Layer::ConnectV6 => FWPM_LAYER_ALE_AUTH_CONNECT_V6,
        Layer::PacketV4 => FWPM_LAYER_OUTBOUND_IPPACKET_V4,
        Layer::PacketV6 => FWPM_LAYER_OUTBOUND_IPPACKET_V6,
    }
}

fn named(name: &mut [u16]) -> FWPM_DISPLAY_DATA0 {
    FWPM_DISPLAY_DATA0 {
        name: name.as_mut_ptr(),
        description: ptr::null_mut(),
    }
}

const NAME: &str = "ZTNA Connector";

const CONDITIONS: u32 = 3;

/// Weights given as one byte go from 0 to 15.
const HIGHEST_WEIGHT: u8 = 15;

/// Where somebody has deleted filters one by one, the search goes on this far.
const MOST_MISSES: u32 = 256;

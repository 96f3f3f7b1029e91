//! CKR_* in, `BackendError` out: the one place that knows both.

use cryptoki::{
    context::Function,
    error::{Error, RvError},
};

use crate::backend::BackendError;

/// What a PKCS#11 call answered, and whether the session that it was made in is of any use still.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) error: BackendError,
    pub(super) session_lost: bool,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let session_lost = matches!(&error, Error::Pkcs11(code, _) if loses_session(*code));
        Fault {
            error: translate(error),
            session_lost,
        }
    }
}

impl From<BackendError> for Fault {
    fn from(error: BackendError) -> Self {
        Fault {
            error,
            session_lost: false,
        }
    }
}

/// Whether an answer says that the flag of the key forbids it: the only proof of a seal.
pub(super) fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Pkcs11(RvError::KeyFunctionNotPermitted, _))
}

/// Whether a login was refused for its PIN.
pub(super) fn is_pin_refusal(error: &Error) -> bool {
    use RvError::*;
    matches!(
        error,
        Error::Pkcs11(
            PinIncorrect | PinLocked | PinExpired | PinInvalid | PinLenRange,
            _
        )
    )
}

/// Whether the token was made, but never got a user PIN.
pub(super) fn is_pin_unset(error: &Error) -> bool {
    matches!(error, Error::Pkcs11(RvError::UserPinNotInitialized, _))
}

pub(super) fn translate(error: Error) -> BackendError {
    let text = error.to_string();
    match error {
        Error::Pkcs11(code, function) => judge(code, function, text),
        Error::NotSupported | Error::NullFunctionPointer | Error::MissingSymbol(_) => {
            BackendError::NotSupported(text)
        }
        _ => BackendError::Unavailable(text),
    }
}

fn judge(code: RvError, function: Function, text: String) -> BackendError {
    use RvError::*;
    match code {
        ObjectHandleInvalid | KeyHandleInvalid => BackendError::DeadHandle,
        KeyFunctionNotPermitted => BackendError::Refused,
        UserPinNotInitialized => BackendError::Sealed,
        PinIncorrect | PinInvalid | PinLenRange | PinExpired | PinLocked | PinTooWeak => {
            BackendError::Pin(text)
        }
        DeviceMemory if makes_something(function) => BackendError::Full(text),
        FunctionNotSupported
        | MechanismInvalid
        | MechanismParamInvalid
        | CurveNotSupported
        | DomainParamsInvalid
        | KeySizeRange
        | KeyTypeInconsistent
        | ActionProhibited
        | ArgumentsBad
        | AttributeReadOnly
        | AttributeTypeInvalid
        | AttributeValueInvalid
        | TemplateIncomplete
        | TemplateInconsistent
        | TokenWriteProtected
        | UserTypeInvalid => BackendError::NotSupported(text),
        // What the caller gave is no text of that key.
        DataInvalid | DataLenRange | EncryptedDataInvalid | EncryptedDataLenRange => {
            BackendError::NotSupported(text)
        }
        _ => BackendError::Unavailable(text),
    }
}

/// Lack of memory is lack of room only where something was to be made.
fn makes_something(function: Function) -> bool {
    matches!(
        function,
        Function::InitToken
            | Function::GenerateKey
            | Function::GenerateKeyPair
            | Function::CopyObject
            | Function::CreateObject
    )
}

fn loses_session(code: RvError) -> bool {
    use RvError::*;
    matches!(
        code,
        SessionHandleInvalid
            | SessionClosed
            | UserNotLoggedIn
            | OperationActive
            | DeviceError
            | DeviceRemoved
            | TokenNotPresent
            | CryptokiNotInitialized
            | GeneralError
            | FunctionFailed
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(code: RvError, function: Function) -> BackendError {
        translate(Error::Pkcs11(code, function))
    }

    #[test]
    fn a_dead_handle_is_told_from_a_refusal() {
        assert_eq!(
            judged(RvError::ObjectHandleInvalid, Function::DestroyObject),
            BackendError::DeadHandle
        );
        assert_eq!(
            judged(RvError::KeyHandleInvalid, Function::SignInit),
            BackendError::DeadHandle
        );
        assert_eq!(
            judged(RvError::KeyFunctionNotPermitted, Function::SignInit),
            BackendError::Refused
        );
    }

    #[test]
    fn a_pin_is_never_in_doubt() {
        for code in [RvError::PinIncorrect, RvError::PinLocked] {
            let error = Error::Pkcs11(code, Function::Login);
            assert!(is_pin_refusal(&error));
            assert!(matches!(translate(error), BackendError::Pin(_)));
        }
        assert!(is_pin_unset(&Error::Pkcs11(
            RvError::UserPinNotInitialized,
            Function::Login
        )));
    }

    #[test]
    fn lack_of_memory_is_full_only_where_something_is_made() {
        assert!(matches!(
            judged(RvError::DeviceMemory, Function::GenerateKeyPair),
            BackendError::Full(_)
        ));
        assert!(matches!(
            judged(RvError::DeviceMemory, Function::DestroyObject),
            BackendError::Unavailable(_)
        ));
    }

    #[test]
    fn what_nobody_knows_may_have_worked() {
        for code in [
            RvError::DeviceRemoved,
            RvError::FunctionFailed,
            RvError::SessionHandleInvalid,
        ] {
            assert!(matches!(
                judged(code, Function::CopyObject),
                BackendError::Unavailable(_)
            ));
            assert!(Fault::from(Error::Pkcs11(code, Function::CopyObject)).session_lost);
        }
        assert!(
            !Fault::from(Error::Pkcs11(RvError::ObjectHandleInvalid, Function::Sign)).session_lost
        );
    }

    #[test]
    fn a_missing_mechanism_is_not_an_outage() {
        assert!(matches!(
            judged(RvError::MechanismInvalid, Function::SignInit),
            BackendError::NotSupported(_)
        ));
        assert!(matches!(
            translate(Error::NullFunctionPointer),
            BackendError::NotSupported(_)
        ));
    }
}

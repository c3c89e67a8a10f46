package import DRPKit

/// What failed in one store, with the store's name in front.
package struct NamedStoreError: DRPError {
    package var store: StoreName
    package var cause: any DRPError

    /// - Returns: nil for an error without a code.
    package init?(_ store: StoreName, _ error: any Error) {
        if let named = error as? NamedStoreError {
            self = named
            return
        }
        guard let cause = error as? any DRPError else { return nil }
        self.store = store
        self.cause = cause
    }

    package var code: ErrorCode { cause.code }
    package var message: String { "store \(store): \(cause.message)" }
    package var advice: String { cause.advice }
}

internal import DRPKit
internal import Foundation

/// A SAS: the query that lets whoever has it in. `sig` is the secret of it; what it allows and until when is not.
/// learn.microsoft.com/rest/api/storageservices/create-service-sas
struct SharedAccessSignature: Sendable {
    /// Goes to the end of a query as it is.
    let query: Secret
    /// When it ends; nil if a policy of the container says it.
    let ends: Date?

    /// - Returns: nil for what is no query with a signature.
    init?(_ secret: Secret) {
        let text = secret.withText { $0.hasPrefix("?") ? String($0.dropFirst()) : $0 }
        let plain = text.utf8.allSatisfy {
            $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "#") && $0 != UInt8(ascii: "?")
        }
        let fields = text.split(separator: "&").map { $0.split(separator: "=", maxSplits: 1).map(String.init) }
        func field(_ name: String) -> String? {
            fields.first { $0.count == 2 && $0[0] == name }?[1].removingPercentEncoding
        }
        guard plain, field("sig") != nil else { return nil }
        query = Secret(text)
        ends = field("se").flatMap { HTTPDate.iso($0) }
    }
}

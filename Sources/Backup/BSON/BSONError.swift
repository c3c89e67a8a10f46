package import DRPKit

/// Bytes that are no BSON, or not the BSON that was expected (bsonspec.org, version 1.1).
package struct BSONError: DRPError, Equatable {
    package enum Reason: Sendable, Equatable {
        /// A length, a name or a value reaches past the end.
        case truncated
        /// A document's or a value's own length cannot be right, or its final zero is missing.
        case badLength
        case unknownType(UInt8)
        case tooDeep
        case tooLarge
        case missing(field: String)
        case wrongType(field: String)
    }

    package var reason: Reason
    /// Bytes from the start of the document that was read.
    package var offset: Int

    package init(_ reason: Reason, at offset: Int = 0) {
        self.reason = reason
        self.offset = offset
    }

    package var code: ErrorCode { .failed }

    package var message: String {
        switch reason {
        case .truncated: "BSON ends too early, at byte \(offset)"
        case .badLength: "BSON with a wrong length at byte \(offset)"
        case .unknownType(let type): "BSON of the unknown type \(type) at byte \(offset)"
        case .tooDeep: "BSON nested too deeply at byte \(offset)"
        case .tooLarge: "BSON document that is too large"
        case .missing(let field): "BSON document without the field \(field)"
        case .wrongType(let field): "BSON field \(field) of another type than expected"
        }
    }
}

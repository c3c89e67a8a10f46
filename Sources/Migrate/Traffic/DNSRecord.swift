/// Type of a record; those without a name here are carried as they are.
package struct DNSType: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }

    package static let a = DNSType(rawValue: 1)
    package static let ns = DNSType(rawValue: 2)
    package static let cname = DNSType(rawValue: 5)
    package static let soa = DNSType(rawValue: 6)
    package static let txt = DNSType(rawValue: 16)
    package static let aaaa = DNSType(rawValue: 28)
    package static let tsig = DNSType(rawValue: 250)
    package static let any = DNSType(rawValue: 255)

    package var description: String {
        switch self {
        case .a: "A"
        case .ns: "NS"
        case .cname: "CNAME"
        case .soa: "SOA"
        case .txt: "TXT"
        case .aaaa: "AAAA"
        case .tsig: "TSIG"
        case .any: "ANY"
        default: "TYPE\(rawValue)"
        }
    }
}

package struct DNSClass: RawRepresentable, Hashable, Sendable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }

    package static let internet = DNSClass(rawValue: 1)
    /// In an UPDATE: must not exist, or delete this record (RFC 2136 2.4, 2.5).
    package static let none = DNSClass(rawValue: 254)
    /// In an UPDATE: must exist, or delete the whole set.
    package static let any = DNSClass(rawValue: 255)
}

package enum DNSData: Hashable, Sendable {
    case a(IPv4)
    /// 16 bytes.
    case aaaa([UInt8])
    case ns(DNSName)
    case cname(DNSName)
    case soa(SOA)
    /// One or more strings of at most 255 bytes.
    case txt([[UInt8]])
    /// No data at all, as in prerequisites and deletions of an UPDATE.
    case none
    case other([UInt8])

    package struct SOA: Hashable, Sendable {
        package var primary: DNSName
        package var mailbox: DNSName
        package var serial: UInt32
        package var refresh: UInt32
        package var retry: UInt32
        package var expire: UInt32
        package var minimum: UInt32
    }
}

package struct IPv4: Hashable, Sendable, CustomStringConvertible {
    /// Network order: the first part of the dotted form is the highest byte.
    package let value: UInt32

    package init(value: UInt32) { self.value = value }

    /// Reads exactly the dotted form that `description` writes.
    package init?(_ text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var value: UInt32 = 0
        for part in parts {
            guard let byte = UInt8(part) else { return nil }
            value = value << 8 | UInt32(byte)
        }
        self.value = value
        guard description == text else { return nil }
    }

    package var description: String {
        [24, 16, 8, 0].map { String(value >> $0 & 0xff) }.joined(separator: ".")
    }
}

package struct DNSQuestion: Hashable, Sendable {
    package var name: DNSName
    package var type: DNSType
    package var `class` = DNSClass.internet
}

package struct DNSRecord: Hashable, Sendable {
    package var name: DNSName
    package var type: DNSType
    package var `class` = DNSClass.internet
    package var ttl: UInt32 = 0
    package var data: DNSData

    package static func a(_ name: DNSName, _ address: IPv4, ttl: UInt32 = 0) -> DNSRecord {
        DNSRecord(name: name, type: .a, ttl: ttl, data: .a(address))
    }

    /// `text` is cut into strings of 255 bytes.
    package static func txt(_ name: DNSName, _ text: String, ttl: UInt32 = 0) -> DNSRecord {
        let bytes = Array(text.utf8)
        let starts = bytes.isEmpty ? [0] : Array(stride(from: 0, to: bytes.count, by: 255))
        let strings = starts.map { Array(bytes[$0..<min($0 + 255, bytes.count)]) }
        return DNSRecord(name: name, type: .txt, ttl: ttl, data: .txt(strings))
    }

    /// In the prerequisites of an UPDATE: the name has no record of this type (RFC 2136 2.4.3).
    package static func mustNotExist(_ name: DNSName, _ type: DNSType) -> DNSRecord {
        DNSRecord(name: name, type: type, class: .none, data: .none)
    }

    /// In the changes of an UPDATE: all records of this type go (RFC 2136 2.5.2).
    package static func deleteAll(_ name: DNSName, _ type: DNSType) -> DNSRecord {
        DNSRecord(name: name, type: type, class: .any, data: .none)
    }
}

/// The code of an answer (RFC 1035 4.1.1, RFC 2136 2.2, RFC 8945 3).
package struct DNSCode: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }

    package static let noError = DNSCode(rawValue: 0)
    package static let formatError = DNSCode(rawValue: 1)
    package static let serverFailure = DNSCode(rawValue: 2)
    package static let nameError = DNSCode(rawValue: 3)
    package static let notImplemented = DNSCode(rawValue: 4)
    package static let refused = DNSCode(rawValue: 5)
    package static let nameExists = DNSCode(rawValue: 6)
    package static let setExists = DNSCode(rawValue: 7)
    package static let setMissing = DNSCode(rawValue: 8)
    package static let notAuthoritative = DNSCode(rawValue: 9)
    package static let notZone = DNSCode(rawValue: 10)
    package static let badSignature = DNSCode(rawValue: 16)
    package static let badKey = DNSCode(rawValue: 17)
    package static let badTime = DNSCode(rawValue: 18)

    private static let names = [
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
        "NOTZONE",
    ]

    package var description: String {
        switch self {
        case .badSignature: "BADSIG"
        case .badKey: "BADKEY"
        case .badTime: "BADTIME"
        default: Int(rawValue) < Self.names.count ? Self.names[Int(rawValue)] : "RCODE\(rawValue)"
        }
    }
}

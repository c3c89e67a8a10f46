internal import Crypto
internal import DRPKit
package import Foundation

/// Signatures of DNS messages (RFC 8945), with HMAC-SHA-256 and full length only. Pure: times are given.
package enum TSIG {
    /// Seconds by which two clocks may differ (RFC 8945 10 recommends this).
    package static let fudge: UInt16 = 300

    package struct Signed: Sendable {
        package var wire: [UInt8]
        /// What the answer's signature is bound to.
        package var mac: [UInt8]
    }

    package enum Failure: Error, Hashable, Sendable {
        case malformed(DNSFormatError)
        /// No signature where one must be; with the code of the answer.
        case unsigned(DNSCode)
        /// The other side refused our signature: BADSIG, BADKEY or BADTIME.
        case refused(DNSCode)
        case wrongKey
        case wrongSignature
        /// The signature is right but too old or too new, by so many seconds (positive: theirs is ahead).
        case wrongTime(Int64)
    }

    /// The content of a TSIG record (RFC 8945 4.2).
    package struct Content: Hashable, Sendable {
        package var algorithm: DNSName
        /// Seconds since 1970, 48 bits.
        package var time: UInt64
        package var fudge: UInt16
        package var mac: [UInt8]
        package var originalID: UInt16
        package var error: DNSCode
        package var other: [UInt8]

        package var wire: [UInt8] {
            var bytes = algorithm.wire
            bytes.append(bigEndian: UInt16(truncatingIfNeeded: time >> 32))
            bytes.append(bigEndian: UInt32(truncatingIfNeeded: time))
            bytes.append(bigEndian: fudge)
            bytes.append(bigEndian: UInt16(mac.count))
            bytes += mac
            bytes.append(bigEndian: originalID)
            bytes.append(bigEndian: error.rawValue)
            bytes.append(bigEndian: UInt16(other.count))
            return bytes + other
        }

        package static func decode(_ bytes: [UInt8]) throws(DNSFormatError) -> Content {
            var reader = DNSReader(bytes: bytes)
            let algorithm = try reader.name()
            let high: UInt16 = try reader.integer()
            let low: UInt32 = try reader.integer()
            let fudge: UInt16 = try reader.integer()
            let mac = try reader.take(Int(try reader.integer() as UInt16))
            let id: UInt16 = try reader.integer()
            let error = DNSCode(rawValue: try reader.integer())
            let other = try reader.take(Int(try reader.integer() as UInt16))
            guard reader.offset == bytes.count else { throw reader.error("bytes after a signature") }
            return Content(
                algorithm: algorithm, time: UInt64(high) << 32 | UInt64(low), fudge: fudge, mac: mac, originalID: id,
                error: error, other: other)
        }
    }

    /// - Parameter request: The signature of the request, if `message` answers one.
    package static func sign(
        _ message: DNSMessage, with key: TSIGKey, at time: Date, answering request: [UInt8]? = nil
    ) -> Signed {
        var content = Content(
            algorithm: TSIGKey.algorithm, time: seconds(of: time), fudge: fudge, mac: [], originalID: message.id,
            error: .noError, other: [])
        let plain = message.wire
        content.mac = Array(code(plain, content, key, request))
        var signed = message
        signed.additionals.append(
            DNSRecord(name: key.name, type: .tsig, class: .any, ttl: 0, data: .other(content.wire)))
        return Signed(wire: signed.wire, mac: content.mac)
    }

    /// Checks an answer and takes its signature off.
    /// - Parameter request: The signature of the request that `bytes` answers; nil to check a request.
    package static func verify(
        _ bytes: [UInt8], with key: TSIGKey, at time: Date, answering request: [UInt8]?
    ) throws(Failure) -> DNSMessage {
        var message: DNSMessage
        let start: Int?
        do {
            let decoded = try DNSMessage.decode(bytes)
            message = decoded.message
            start = decoded.startOfLastAdditional
        } catch { throw .malformed(error) }
        guard let start, let last = message.additionals.last, last.type == .tsig, case .other(let data) = last.data
        else { throw .unsigned(message.code) }
        let content: Content
        do { content = try Content.decode(data) } catch { throw .malformed(error) }
        message.additionals.removeLast()
        // A server that could not check our signature answers without one of its own (RFC 8945 5.2).
        if content.error == .badSignature || content.error == .badKey { throw .refused(content.error) }
        guard last.class == .any, last.ttl == 0, last.name == key.name, content.algorithm == TSIGKey.algorithm else {
            throw .wrongKey
        }
        var plain = Array(bytes[..<start])
        plain.replaceSubrange(0..<2, with: [UInt8(content.originalID >> 8), UInt8(content.originalID & 255)])
        let additionals = UInt16(message.additionals.count)
        plain.replaceSubrange(10..<12, with: [UInt8(additionals >> 8), UInt8(additionals & 255)])
        guard isSame(content.mac, Array(code(plain, content, key, request))) else { throw .wrongSignature }
        if content.error == .badTime { throw .refused(.badTime) }
        let ahead = Int64(content.time) - Int64(seconds(of: time))
        guard ahead.magnitude <= UInt64(content.fudge) else { throw .wrongTime(ahead) }
        return message
    }

    /// What is signed (RFC 8945 4.3): the request's signature, the message, the signature's own variables.
    private static func code(
        _ plain: [UInt8], _ content: Content, _ key: TSIGKey, _ request: [UInt8]?
    ) -> HMAC<SHA256>.MAC {
        var bytes: [UInt8] = []
        if let request {
            bytes.append(bigEndian: UInt16(request.count))
            bytes += request
        }
        bytes += plain
        bytes += key.name.wire
        bytes.append(bigEndian: DNSClass.any.rawValue)
        bytes.append(bigEndian: UInt32(0))
        bytes += content.algorithm.wire
        bytes.append(bigEndian: UInt16(truncatingIfNeeded: content.time >> 32))
        bytes.append(bigEndian: UInt32(truncatingIfNeeded: content.time))
        bytes.append(bigEndian: content.fudge)
        bytes.append(bigEndian: content.error.rawValue)
        bytes.append(bigEndian: UInt16(content.other.count))
        bytes += content.other
        return key.secret.withBytes { HMAC<SHA256>.authenticationCode(for: bytes, using: SymmetricKey(data: $0)) }
    }

    /// Takes the same time wherever two codes differ.
    private static func isSame(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        left.count == right.count && zip(left, right).reduce(0) { $0 | ($1.0 ^ $1.1) } == 0
    }

    private static func seconds(of time: Date) -> UInt64 { UInt64(max(0, time.timeIntervalSince1970)) }
}

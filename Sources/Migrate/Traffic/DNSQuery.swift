internal import DRPKit

/// Asks one server one question and refuses every answer that does not belong to it.
struct DNSQuery: Sendable {
    var exchange: any DNSExchange
    /// For errors.
    var server: String
    /// Signs the question and checks the answer's signature; nil asks plainly.
    var key: TSIGKey?
    var clock: any WallClock

    /// Whose word is asked for.
    enum Respondent {
        /// What the zone holds.
        case authority
        /// What its users are told, which may be older.
        case resolver
    }

    /// - Returns: Records of the answer section for `name` and type `type` or CNAME; none if the name does not exist.
    func records(_ name: DNSName, _ type: DNSType, of respondent: Respondent = .authority) async throws -> [DNSRecord] {
        var question = DNSMessage.question(id: Self.newID(), name, type)
        question.wantsRecursion = respondent == .resolver
        let answer = try await send(question)
        guard answer.code == .noError || answer.code == .nameError else { throw failure(answer.code) }
        guard answer.isAuthoritative || respondent == .resolver else {
            throw TrafficError(.settings, "DNS server \(server)", "it is not an authority for \(name)")
        }
        guard !answer.isTruncated else {
            throw TrafficError(.malformed, "DNS server \(server)", "a truncated answer over TCP")
        }
        return answer.answers.filter {
            $0.name == name && $0.class == .internet && ($0.type == type || $0.type == .cname)
        }
    }

    /// - Returns: The answer, whatever its code, once it is known to answer `message`.
    func send(_ message: DNSMessage) async throws -> DNSMessage {
        let answer: DNSMessage
        if let key {
            let signed = TSIG.sign(message, with: key, at: clock.now)
            let bytes = try await exchange.exchange(signed.wire)
            do {
                answer = try TSIG.verify(bytes, with: key, at: clock.now, answering: signed.mac)
            } catch { throw failure(error) }
        } else {
            let bytes = try await exchange.exchange(message.wire)
            do { answer = try DNSMessage.decode(bytes).message } catch { throw failure(.malformed(error)) }
        }
        // An answer to an update may leave its sections out (RFC 2136 3.8).
        guard answer.isAnswer, answer.id == message.id, answer.operation == message.operation,
            answer.questions == message.questions || answer.questions.isEmpty
        else { throw TrafficError(.malformed, "DNS server \(server)", "an answer to another question") }
        return answer
    }

    func failure(_ code: DNSCode) -> TrafficError {
        let subject = "DNS server \(server)"
        return switch code {
        case .refused: TrafficError(.denied, subject, "it refused (\(code)): its policy does not allow this")
        case .notAuthoritative:
            TrafficError(.denied, subject, "it refused (\(code)): it is no primary of this zone, or refuses the key")
        case .setMissing, .setExists, .nameExists:
            TrafficError(.changed, subject, "the records changed in between (\(code))")
        case .notZone: TrafficError(.settings, subject, "a name lies outside the zone (\(code))")
        default: TrafficError(.failed, subject, "it answered \(code)")
        }
    }

    private func failure(_ failure: TSIG.Failure) -> TrafficError {
        let subject = "DNS server \(server)"
        return switch failure {
        case .malformed(let error): TrafficError(.malformed, subject, "an answer that is no DNS message: \(error)")
        case .unsigned(.refused): self.failure(.refused)
        case .unsigned(.notAuthoritative): self.failure(.notAuthoritative)
        case .unsigned(let code): TrafficError(.malformed, subject, "an answer without a signature (\(code))")
        case .refused(.badKey): TrafficError(.denied, subject, "it does not know the TSIG key (BADKEY)")
        case .refused(.badSignature): TrafficError(.denied, subject, "the TSIG key's secret is another there (BADSIG)")
        case .refused(.badTime): TrafficError(.denied, subject, "our clock and its differ too much (BADTIME)")
        case .refused(let code): TrafficError(.denied, subject, "it refused the signature (\(code))")
        case .wrongKey: TrafficError(.malformed, subject, "an answer signed with another key")
        case .wrongSignature: TrafficError(.malformed, subject, "an answer whose signature is wrong")
        case .wrongTime(let seconds):
            TrafficError(.denied, subject, "an answer signed at another time: its clock is \(seconds) s ahead of ours")
        }
    }

    static func newID() -> UInt16 {
        var generator = SystemRandomNumberGenerator()
        return UInt16(truncatingIfNeeded: generator.next())
    }
}

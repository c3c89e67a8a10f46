import Backup
import DRPKit
import Testing

@Suite("MongoDB errors")
struct MongoErrorTests {
    @Test("a server that is gone is named as unreachable, with its address and without the password")
    func unreachable() async throws {
        let error = await #expect(throws: MongoError.self) {
            try await MongoPreflight.ping(settings: MongoTestServers.nowhere, side: .source)
        }
        #expect(error?.reason == .unreachable)
        #expect(error?.code == .sourceUnreachable)
        #expect(error?.description.contains("127.0.0.1:1") == true)
        #expect(error?.description.contains("canary") == false)
    }

    @Test(
        "a uri that cannot be read is refused without being quoted",
        arguments: ["mongodb://ann:can@ary@h/", "x:canary", ""])
    func badURI(uri: String) async throws {
        let error = await #expect(throws: MongoError.self) {
            try await MongoPreflight.ping(settings: MongoSettings(uri: Secret(uri)), side: .target)
        }
        #expect(error?.reason == .badURI)
        #expect(error?.description.contains("ary") == false)
    }

    @Test("a CA file that is not there is named")
    func missingCA() async throws {
        var settings = MongoTestServers.nowhere
        settings.caFile = "/nonexistent/ca.pem"
        let error = await #expect(throws: MongoError.self) {
            try await MongoPreflight.ping(settings: settings, side: .source)
        }
        #expect(error?.reason == .untrusted)
        #expect(error?.message.contains("/nonexistent/ca.pem") == true)
    }

    @Test("each reason has the exit status of its side")
    func codes() {
        func code(_ reason: MongoError.Reason, _ side: MongoError.Side) -> Int32 {
            MongoError(side: side, reason: reason, subject: "h:1", detail: "d").code.exitStatus
        }
        #expect(code(.denied, .source) == 20 && code(.denied, .target) == 30)
        #expect(code(.unreachable, .source) == 20 && code(.unreachable, .target) == 30)
        #expect(code(.changed, .source) == 21 && code(.tooOld, .source) == 21 && code(.unsupported, .source) == 21)
        #expect(code(.notEmpty, .target) == 31)
    }
}

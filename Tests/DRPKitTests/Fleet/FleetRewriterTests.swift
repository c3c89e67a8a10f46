import Foundation
import Testing

@testable import DRPKit

@Suite("Pointing a fleet file to other secrets")
struct FleetRewriterTests {
    private static func file(_ text: String) -> FleetFile {
        FleetFile(path: "/old/fleet.yaml", bytes: Array(text.utf8))
    }

    /// A client whose secrets are written in `mongo` and `redis`.
    private static func text(mongo: String, redis: String = "{uri: {file: /s/redis}}") -> String {
        FleetText.dull(
            "traffic:\n",
            """
              - id: extra
                environment: staging
                site: lyon
                services:
                  mongo: \(mongo)
                  redis: \(redis)
            traffic:

            """)
    }

    /// Every secret to `/new/N`, the state to `/new/state`, files to `/new/files`.
    private static func rewrite(_ text: String) throws -> String {
        let files = [file(text)]
        let reading = FleetReader.read(files, whole: "fleet")
        #expect(reading.fleet != nil, "\(reading.problems)")
        var targets: [FleetReference.Target: FleetReference.Target] = [:]
        for reference in reading.references {
            switch reference.target {
            case .secret: targets[reference.target] = .secret(.file(path: "/new/secret"))
            case .file: targets[reference.target] = .file("/new/file")
            case .folder(let path):
                if path == reading.fleet?.state { targets[reference.target] = .folder("/new/state") }
            case .program: break
            }
        }
        let out = try FleetRewriter.rewrite(files, whole: "fleet") { targets[$0] ?? $0 }
        return String(decoding: out[0].bytes, as: UTF8.self)
    }

    @Test(
        "every way of writing a secret",
        arguments: [
            ("{uri: {file: /s/mongo}}", "{uri: {file: /new/secret}}"),
            ("{uri: {file: mongo.uri}, ca: ca.pem}", "{uri: {file: /new/secret}, ca: /new/file}"),
            ("{uri: {env: MONGO_URI}}", "{uri: {file: /new/secret}}"),
            ("{uri: {credential: \"mongo uri\"}}", "{uri: {file: /new/secret}}"),
            ("{uri: {command: [./get, '}', \"it's \\\" {\"]}}", "{uri: {file: /new/secret}}"),
            ("{uri: {command: [get, don't, a#b]}, ca: 'x''y'}", "{uri: {file: /new/secret}, ca: /new/file}"),
            ("{\"uri\": {\"file\": \"/s/mongo\"}}", "{\"uri\": {file: /new/secret}}"),
            (
                "{uri: {command: [get, # } not the end\n          x]}, ca: ca.pem}",
                "{uri: {file: /new/secret}, ca: /new/file}"
            ),
            ("\n        uri:\n          file: /s/mongo", "\n        uri:\n          file: /new/secret"),
            (
                "\n        uri:\n          command:\n          - get\n          - it\n        ca: ca.pem",
                "\n        uri:\n          file: /new/secret\n        ca: /new/file"
            ),
            (
                "\n        uri:\n          command:\n            [get,\n\n            it]\n\n        # a remark\n        ca: \"ca.pem\"",
                "\n        uri:\n          file: /new/secret\n\n        # a remark\n        ca: /new/file"
            ),
            (
                "\n        ca: ca.pem # why\n        uri: {env: A}",
                "\n        ca: /new/file # why\n        uri: {file: /new/secret}"
            ),
        ])
    func shapes(old: String, new: String) throws {
        let before = Self.text(mongo: old)
        let after = try Self.rewrite(before)
        let wanted = "mongo: \(new)\n      redis: {uri: {file: /new/secret}}"
        #expect(after.contains(wanted), "\(after)")
        // Remarks, order and everything else stay.
        #expect(after.split(separator: "\n").count <= before.split(separator: "\n").count)
    }

    @Test("lines that end in CR LF, and letters outside of ASCII before a reference")
    func lineEnds() throws {
        let plain = Self.text(mongo: "{ca: \"é😀\", uri: {file: /s/mongo}}")
        let after = try Self.rewrite(plain.replacing("\n", with: "\r\n"))
        #expect(after.contains("mongo: {ca: /new/file, uri: {file: /new/secret}}\r\n"), "\(after)")
    }

    @Test("relative paths that stay get their absolute form; what is absolute already is not touched")
    func relative() throws {
        let after = try Self.rewrite(Self.text(mongo: "{uri: {env: A}}"))
        #expect(after.contains("state: /new/state"))
        #expect(after.contains("folder: /old/sites/paris"))
        #expect(after.contains("folder: /srv/lyon"))
    }

    @Test("a path of odd characters is quoted")
    func odd() throws {
        let files = [Self.file(Self.text(mongo: "{uri: {env: A}}"))]
        let path = "/new folder/a\"b\\c: #d"
        let out = try FleetRewriter.rewrite(files, whole: "fleet") { target in
            target == .secret(.env(name: "A")) ? .secret(.file(path: path)) : target
        }
        let found = FleetReader.read(out, whole: "fleet").references.map(\.target)
        #expect(found.contains(.secret(.file(path: path))))
    }

    @Test("text that it cannot rewrite is an error, never a wrong file")
    func refused() {
        #expect(throws: FleetError.self) { try Self.rewrite(Self.text(mongo: "{uri: !!map {env: A}}")) }
        #expect(throws: FleetError.self) {
            try FleetRewriter.rewrite([Self.file("fleet: [")], whole: "fleet") { $0 }
        }
    }
}

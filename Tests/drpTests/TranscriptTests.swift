import Foundation
import Testing

@Suite(
    "What commands say", .serialized, .needsServices,
    .world(DemoWorld.Options(clients: ["acme", "birch", "cedar"], hasAPI: false, hasKeys: false)))
struct TranscriptTests {
    @Test("a fleet file with several errors: all at once, each with its line and what would be right")
    func configCheck() async throws {
        let world = try DemoWorld.current
        try """
        fleet: broken
        state: \(world.folder)/other-state
        site: ofice
        recovery: [drp1abc]

        sites:
          office: {}
          north:
            provider: local
            foldr: /srv/north

        stores:
          vault: {site: office, folder: relative/path}

        policies:
          nightly: {schedule: "daily 25:30 Europe/Paris", stores: [vault, attic]}

        environments:
          production: {policy: nightly}

        clients:
          - id: acme
            environment: productoin
            site: north
            services:
              api: {command: [/bin/true], port: 99999}
              mongo: {uri: {file: /run/acme}}
          - id: acme
            environment: production
            site: north
            services: {}

        """.write(toFile: "\(world.folder)/broken.yaml", atomically: true, encoding: .utf8)
        try await Transcript.expect(
            "config-check", ["config check --fleet broken.yaml", "backup list --fleet broken.yaml", "config check"],
            in: world)
        #expect(!FileManager.default.fileExists(atPath: "\(world.folder)/other-state"))
    }

    @Test("backups: taken, listed, shown, verified")
    func backups() async throws {
        let world = try DemoWorld.current
        try await Transcript.expect(
            "backup",
            [
                "backup run acme", "keys init acme birch", "keys init acme", "backup list acme birch",
                "backup run acme",
                "backup run acme birch", "backup list acme birch", "backup show acme/1", "backup verify acme birch",
                "backup verify acme --read-data --identity recovery-1.key",
                "backup show birch/7", "runs list", "check acme birch",
            ], in: world)
    }

    @Test("a damaged pack: which backups suffer, and what to do")
    func damage() async throws {
        let world = try DemoWorld.current
        #expect(try await world.drp("keys", "init", "cedar").status == 0)
        try await world.backUp("cedar")
        let packs = "\(try world.repository(of: "cedar"))/packs"
        let pack = try #require(DemoWorld.files(below: packs).first)
        let path = "\(packs)/\(pack)"
        let whole = try Data(contentsOf: URL(fileURLWithPath: path))
        var damaged = whole
        damaged[damaged.count / 2] ^= 1
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
        try damaged.write(to: URL(fileURLWithPath: path))
        try await Transcript.expect("damage", ["backup verify cedar"], in: world)
        try whole.write(to: URL(fileURLWithPath: path))
        try await world.expectWhole("cedar")
    }
}

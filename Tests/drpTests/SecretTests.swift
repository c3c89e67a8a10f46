import Foundation
import Testing

@Suite("Secrets", .serialized, .needsServices)
struct SecretTests {
    @Test("no password shows in command lines, environments, output, logs, errors, journal or store")
    func nowhere() async throws {
        try await DemoWorld.run { world in
            let target = try await world.makeTarget("new")
            let sampler = ProcessSampler(folder: world.folder)
            defer { sampler.stop() }
            let identity = ["--identity", world.identity]
            let toSouth = ["acme", "--to", "south"] + identity
            try await run(world, ["check"])
            try await run(world, ["backup", "run", "acme"])
            try await run(world, ["backup", "run", "acme", "--json"])
            try await run(world, ["backup", "show", "acme/latest"])
            try await run(world, ["backup", "verify", "acme", "--read-data"] + identity)
            try await run(world, ["restore", "plan", "acme", "--target", target] + identity)
            try await run(world, ["restore", "run", "acme", "--target", target] + identity)
            try await run(world, ["restore", "run", "acme", "--target", target] + identity, status: 31)
            try await run(world, ["migrate", "plan"] + toSouth)
            try await world.killNorth()
            try await run(world, ["backup", "run", "acme"], status: 20)
            try await run(world, ["migrate", "run"] + toSouth + ["--source-lost", "--confirm", "acme"])
            try await run(world, ["backup", "run", "acme"])
            try await run(world, ["runs", "list", "--json"])
            try await run(world, ["migrate", "run", "acme", "--to", "north"] + identity + ["--confirm", "acme"])

            // The net holds: a secret that does show is found.
            let planted = try world.startAny(
                ["/bin/sleep", "60"], environment: ["PLANTED": "canary-in-the-environment"])
            try await sampler.finishRound()
            planted.signal(9)
            _ = try await planted.wait()
            #expect(sampler.sightings(of: "canary-in-the-environment").count == 1)
            #expect(sampler.programs.contains("sleep"))
            #expect(sampler.programs.isSuperset(of: ["drp", "mongod", "redis-server"]), "\(sampler.programs)")

            let canaries = try Self.secrets(world)
            // Of source and target servers; of two deployments; the key for updates; two identities.
            #expect(canaries.count >= 20, "\(canaries.count)")
            for (secret, home) in canaries {
                let seen = sampler.sightings(of: secret)
                #expect(
                    seen.isEmpty, "\(home): \(seen.first?.replacingOccurrences(of: secret, with: "<canary>") ?? "")")
            }
            for folder in ["commands", "state", "store"] {
                for file in DemoWorld.files(below: "\(world.folder)/\(folder)") where !file.hasPrefix("keys/") {
                    let bytes = FileManager.default.contents(atPath: "\(world.folder)/\(folder)/\(file)") ?? Data()
                    for (secret, home) in canaries {
                        #expect(
                            bytes.range(of: Data(secret.utf8)) == nil, "\(folder)/\(file) holds a secret of \(home)")
                    }
                }
            }
        }
    }

    private func run(_ world: DemoWorld, _ arguments: [String], status: Int32 = 0) async throws {
        let ended = try await world.drp(arguments + ["--verbose"])
        #expect(ended.status == status, "\(arguments): \(ended.stdout)\(ended.stderr)")
    }

    /// Every secret of the world, and the file that holds it.
    private static func secrets(_ world: DemoWorld) throws -> [String: String] {
        var found: [String: String] = [:]
        let uri = try Regex("(?:mongodb|rediss?)://[^:/@\\s]*:([^@\\s]{8,})@")
        for file in DemoWorld.files(below: world.folder) {
            let isURI = file.contains("/uri.") || file.hasPrefix("sites/")
            guard isURI || file == "bind/tsig.key" || file.hasPrefix("recovery-") else { continue }
            guard !file.contains("/data/"), let bytes = FileManager.default.contents(atPath: "\(world.folder)/\(file)"),
                let text = String(data: bytes, encoding: .utf8)
            else { continue }
            for match in text.matches(of: uri) { found[String(match.output[1].substring ?? "")] = file }
            if file == "bind/tsig.key" { found[String(text.split(separator: "\"")[3])] = file }
            if file.hasPrefix("recovery-"), let line = text.split(separator: "\n").last { found[String(line)] = file }
        }
        return found
    }
}

internal import DRPKit
internal import Foundation

/// What is done to single objects. Names are those of `DockerNames`; ids serve as well.
extension DockerEngine {
    func createContainer(_ name: String, _ body: JSONValue) async throws {
        try await send("create container \(name)", .post, ["containers", "create"], ["name": name], body: .json(body))
    }

    /// One that runs already is fine (status 304).
    func startContainer(_ name: String) async throws {
        try await send("start container \(name)", .post, ["containers", name, "start"], deadline: .seconds(60))
    }

    /// One that does not run, or is not there, is fine. It is killed at the deadline.
    func stopContainer(_ name: String, within deadline: Duration) async throws {
        let seconds = Int(deadline / .seconds(1))
        _ = try await sendIfThere(
            "stop container \(name)", .post, ["containers", name, "stop"], ["t": "\(seconds)"],
            deadline: deadline + .seconds(15))
    }

    /// One that is not there is fine.
    func removeContainer(_ name: String, clock: any WallClock) async throws {
        let act = "remove container \(name)"
        for _ in 0..<100 {
            do {
                _ = try await sendIfThere(
                    act, .delete, ["containers", name], ["force": "1", "v": "1"], deadline: .seconds(60))
                return
            } catch let error as DockerError where error.reason == .conflict {
                // Somebody else removes it at this moment: an earlier call whose answer was lost.
                try await clock.sleep(for: .milliseconds(100))
            }
        }
        throw DockerError(.late, act, "it is still being removed")
    }

    /// Unpacks an archive at a folder of a container, which need not run.
    func put(_ archive: [UInt8], into name: String, at path: String) async throws {
        try await send(
            "put files through container \(name)", .put, ["containers", name, "archive"], ["path": path],
            body: .tar(archive), deadline: .seconds(60))
    }

    /// - Returns: false if its addresses belong to another network.
    func createNetwork(_ name: String, _ body: JSONValue) async throws -> Bool {
        do {
            try await send("create network \(name)", .post, ["networks", "create"], body: .json(body))
            return true
        } catch let error as DockerError where error.text.lowercased().contains("overlap") {
            return false
        }
    }

    func connect(_ container: String, to network: String, _ endpoint: JSONValue) async throws {
        try await send(
            "connect container \(container) to network \(network)", .post, ["networks", network, "connect"],
            body: .json(["Container": .text(container), "EndpointConfig": endpoint]))
    }

    /// One that is not there is fine.
    func removeNetwork(_ name: String) async throws {
        _ = try await sendIfThere("remove network \(name)", .delete, ["networks", name])
    }

    func createVolume(_ name: String, _ body: JSONValue) async throws {
        try await send("create volume \(name)", .post, ["volumes", "create"], body: .json(body))
    }

    /// One that is not there is fine.
    func removeVolume(_ name: String) async throws {
        _ = try await sendIfThere("remove volume \(name)", .delete, ["volumes", name], deadline: .seconds(120))
    }
}

internal import DRPKit
internal import Foundation

/// The file of `restore --target`: a `services:` block as a client of the fleet file has it.
enum TargetFile {
    static func read(_ path: String) throws -> Services {
        guard FileManager.default.fileExists(atPath: path) else {
            throw UsageError("there is no target file \(path)", advice: "Name a YAML file with a `services:` block.")
        }
        return try FleetReader.loadServices(path)
    }
}

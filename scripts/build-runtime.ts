console.log("runtime: not built yet", process.version);

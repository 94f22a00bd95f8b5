package shim

// Trim gives the space of a log's beginning back.
var Trim = trim

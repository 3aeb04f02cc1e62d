#!/bin/sh
# Runs in each job before its first step, as the job's user; the job fails if this does.
java --version

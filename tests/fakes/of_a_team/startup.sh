#!/bin/bash
export TEAM=data
